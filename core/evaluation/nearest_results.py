"""The training images nearest to generated ones, as a screen shows them. Never imports PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MEMORIZED, NEAR = 0.0, 0.05  # share of held-out images that lie nearer to the training images


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The nearest training image of each of N generated ones: pictures (N, H, W, C) uint8, labels (N,) int64, their
    places in the training split (N,), distances (N,) in root mean square grey levels.

    closer (N,): share of held-out images of the class that lie nearer to the training images, NaN when there are
    none; every: one in so many training images was looked at.
    """

    pictures: np.ndarray
    labels: np.ndarray
    places: np.ndarray
    distances: np.ndarray
    closer: np.ndarray
    every: int

    def in_words(self, index: int) -> str:
        """How to read the distance of one image, in a sentence."""
        share, distance = float(self.closer[index]), f"{self.distances[index]:.0f} of 255 gray levels apart"
        if np.isnan(share):
            return f"{distance} (root mean square)."
        if share <= MEMORIZED:
            return f"{distance}: nearer than any held-out image of the class is to its own. It may be memorized."
        if share < NEAR:
            return f"{distance}: only {share:.0%} of held-out images are nearer to theirs. Compare the two."
        return f"{distance}; {share:.0%} of held-out images are nearer to theirs: no sign of memorization by this test."
