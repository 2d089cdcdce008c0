"""Between two noises lie noises of their length."""

from __future__ import annotations

import math

import pytest
import torch

from core.sampling.noise import spherical


@pytest.mark.parametrize("degrees", [20, 60, 90, 150])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_a_walk_turns_by_its_share_of_the_angle_and_mixes_the_lengths(degrees: int, share: float) -> None:
    angle = math.radians(degrees)
    start, end = torch.tensor([[2.0, 0.0]]), 3.0 * torch.tensor([[math.cos(angle), math.sin(angle)]])
    (found,) = spherical(start, end, torch.tensor([share])).double()
    assert found.norm().item() == pytest.approx(2.0 + share, rel=1e-5)
    assert math.atan2(found[1], found[0]) == pytest.approx(share * angle, abs=1e-5)
