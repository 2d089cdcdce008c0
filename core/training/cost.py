"""What a training costs. Light: `core.training.probe` measures it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Measured cost of one network's training: the median of a few steps, times the steps there are."""

    parameters: int
    seconds_per_step: float
    images_per_s: float
    estimated_s: float
    device: str
