"""Randomness as a pure function of (seed, purpose, numbers): no random state is ever saved or shared.

A training step's order, noise, timesteps and label dropout all come from here, so a resumed run and two processes
see exactly what one uninterrupted process would have seen.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, purpose: str, *numbers: int) -> int:
    """A 63-bit seed that differs for every (seed, purpose, numbers)."""
    text = "/".join([str(seed), purpose, *map(str, numbers)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, purpose: str, *numbers: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator on `device`, seeded by `derive`. The stream depends on the device's kind."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, purpose, *numbers))
