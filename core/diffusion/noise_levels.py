"""Noise levels that every schedule shares, so that what was decoded for one serves the others. Light."""

from __future__ import annotations

import numpy as np

LEVELS = 46  # two degrees of arctan(noise weight / image weight) apart


def nearest_levels(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The nearest of `LEVELS` noise levels to each pair of weights (F,): (F,), 0 (image) to LEVELS - 1 (noise).

    A degree off at most, which is 0.018 in either weight.
    """
    return (np.arctan2(noise, signal) / (np.pi / 2) * (LEVELS - 1)).round().astype(int)


def level_weights(level: int, *, is_flow: bool) -> tuple[float, float]:
    """Weights of the image and of the noise at a level: a circle, or for flow matching a straight line."""
    angle = np.pi / 2 * level / (LEVELS - 1)
    signal, noise = float(np.cos(angle)), float(np.sin(angle))
    total = signal + noise if is_flow else 1.0
    return signal / total, noise / total
