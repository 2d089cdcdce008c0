"""The step at which a digit commits: what the judge sees in the predicted clean picture, step by step."""

from __future__ import annotations

import numpy as np

SURE = 0.5  # above it no other class can be likelier


def commit_frame(probabilities: np.ndarray, *, sure: float = SURE) -> np.ndarray:
    """(F, N, K) → (N,) int: the first frame from which on the judge gives the last frame's likeliest class more than
    `sure` and more than any other, to the end; -1 where it does not do so even at the end."""
    final = probabilities[-1].argmax(axis=1)  # (N,)
    share = np.take_along_axis(probabilities, final[None, :, None], axis=2)[..., 0]  # (F, N)
    stays = (probabilities.argmax(axis=2) == final) & (share > sure)
    since = np.logical_and.accumulate(stays[::-1])[::-1]  # stays here and at every later frame
    return np.where(since[-1], since.argmax(axis=0), -1)
