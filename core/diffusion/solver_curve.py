"""What the self-test finds of one sampler. Light: `core.diffusion.gaussian_mixture_test` measures it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class SolverCurve:
    """A sampler's errors over the step counts it can take: steps and network evaluations (n,), errors (n,), inf when
    diverged. pathwise: None for samplers that draw noise. floor: what a perfect solver would show."""

    sampler: str
    steps: tuple[int, ...]
    evaluations: np.ndarray
    wasserstein: np.ndarray
    pathwise: np.ndarray | None
    floor: float


@dataclass(frozen=True, kw_only=True)
class SampleDensity:
    """The true density (M,) at x (M,), and that of samples (B,) at the centers of bins (B,)."""

    x: np.ndarray
    truth: np.ndarray
    centers: np.ndarray
    found: np.ndarray
