"""Intervals of a Fréchet distance and of a kernel distance, from what each generated image contributes.

A distance is a smooth function of means over images. Its influence says how much an image moves it, so its standard
error is that of a mean. Near its floor a distance is mostly quadratic in the noise; there the plain formula is up to
√2 too wide, and the same formula on halves of the images says by how much. What an interval holds is the expectation
at that number of images: `benchmarks/interval_coverage.py` measures how often.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

# Of `endless_distance`: f(N) + f(N/2)/2 - f(N/4)/2 weighs pairs of images by 1, 2 or 0 where a distance has 1 for all.
ENDLESS = 3.0
Influence = Callable[[np.ndarray], np.ndarray]


def halves(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (n,) of two halves of the images, each with half of every class."""
    order = np.argsort(labels, kind="stable")
    return np.sort(order[::2]), np.sort(order[1::2])


def standard_error(influence: Influence, labels: np.ndarray, *, quadratic: float = 2.0) -> float:
    """The standard error of a distance over images of fixed labels (N,).

    influence: places (n,) of some images → what each of them contributes (n,) to the distance of these alone. It finds
    a/N + 4b/N² on average, and halves find 2a/N + 16b/N²; the variance is a/N + q·b/N², a combination of both.
    quadratic: q, 2 for a distance itself, `ENDLESS` where it is extrapolated.
    """
    everything = _variance(influence(np.arange(len(labels))), labels)
    parts = [_variance(influence(part), labels[part]) for part in halves(labels)]
    excess = 4.0 - quadratic
    found = (1.0 + excess / 4.0) * everything - excess / 8.0 * (parts[0] + parts[1]) / 2.0
    return math.sqrt(min(max(found, 0.25 * everything), everything))


def _variance(values: np.ndarray, labels: np.ndarray) -> float:
    """Of the mean of values (N,) whose classes were chosen: only differences within a class count."""
    counts = np.bincount(labels)
    sums = np.bincount(labels, weights=values)
    residuals = values - (sums / np.maximum(counts, 1))[labels]
    lost = int((counts > 0).sum())
    return float(np.square(residuals).sum()) / max(len(values) - lost, 1) / len(values)
