"""Randomness as a pure function of (seed, purpose, numbers): no random state is ever saved or shared.

A training step's order, noise, timesteps and label dropout all come from here, so a resumed run and two processes
see exactly what one uninterrupted process would have seen.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from core.rules import check

if TYPE_CHECKING:
    import torch

STATE_WORDS = 624  # of 32 bits: what a Mersenne Twister holds (MT19937)


def derive(seed: int, purpose: str, *numbers: int) -> int:
    """A 63-bit seed that differs for every (seed, purpose, numbers)."""
    return int.from_bytes(hashlib.sha256(_name(seed, purpose, numbers)).digest()[:8], "little") >> 1


def generator(seed: int, purpose: str, *numbers: int, rule: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator on `device` for (seed, purpose, numbers). The stream depends on the device's kind.

    rule: version of the rule "noise", see core.rules. By version 1 a CPU generator is seeded with `derive`, of which
    PyTorch keeps 32 bits there: two in some 80,000 are equal. Version 2 fills its whole state. A GPU keeps 64 bits of
    its seed, by either. Raises LabError for another version.
    """
    import torch

    check("noise", rule)
    found = torch.Generator(device=device)
    if rule == 1 or found.device.type != "cpu":
        return found.manual_seed(derive(seed, purpose, *numbers))
    found.set_state(_cpu_state(seed, purpose, numbers))
    return found


@dataclass(frozen=True)
class Randomness:
    """What a training draws from: its seed, and the version of the rule "noise" that it follows.

    part: "vae" or "unet". By version 1 equal purposes of both give equal streams; by version 2 they never do.
    """

    seed: int
    rule: int
    part: str

    def generator(self, purpose: str, *numbers: int, device: str | torch.device = "cpu") -> torch.Generator:
        """As the function of this name."""
        return generator(self.seed, self._purpose(purpose), *numbers, rule=self.rule, device=device)

    def seed_torch(self, purpose: str, *numbers: int) -> None:
        """Set the random state of PyTorch itself, of every device: initial weights and dropout draw from it."""
        import torch

        check("noise", self.rule)
        purpose = self._purpose(purpose)
        torch.manual_seed(derive(self.seed, purpose, *numbers))
        if self.rule > 1:
            torch.set_rng_state(_cpu_state(self.seed, purpose, numbers))

    def _purpose(self, purpose: str) -> str:
        return purpose if self.rule == 1 else f"{self.part} {purpose}"


def _name(seed: int, purpose: str, numbers: tuple[int, ...]) -> bytes:
    return "/".join([str(seed), purpose, *map(str, numbers)]).encode()


def _cpu_state(seed: int, purpose: str, numbers: tuple[int, ...]) -> torch.Tensor:
    """The state (5056,) uint8 of a CPU generator whose 19,968 bits come from SHAKE-256 of the name.

    As PyTorch lays it out (CPUGeneratorImplStateLegacy): seed, then `left` and `seeded` of 32 bits each, `next`, the
    words of the twister, and what a normal draw has left over. left = 1: the first draw makes the next 624 words.
    """
    import torch

    words = np.zeros(632, dtype="<u8")
    words[1] = 1 | 1 << 32
    drawn = hashlib.shake_256(_name(seed, purpose, numbers)).digest(4 * STATE_WORDS)
    words[3 : 3 + STATE_WORDS] = np.frombuffer(drawn, dtype="<u4")
    return torch.from_numpy(words.view(np.uint8))
