"""The self-test for a screen: samplers with a perfect network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from core.compute.question import Tell
from core.config.schema import DiffusionSettings
from core.diffusion.gaussian_mixture_test import MIXTURE, sampling_floor, solve, solver_error
from core.diffusion.sampler_table import SAMPLERS
from core.diffusion.schedule import build_schedule
from core.diffusion.solver_curve import SampleDensity, SolverCurve


def solver_curve(
    tell: Tell, sampler: str, diffusion: DiffusionSettings, steps: Sequence[int], num_paths: int
) -> SolverCurve:
    """Errors of one sampler at each number of steps, by running `num_paths` of it with a perfect network."""
    schedule, stochastic = build_schedule(diffusion), SAMPLERS[sampler].stochastic
    found = [solver_error(sampler, schedule, n, num_samples=num_paths) for n in steps]
    return SolverCurve(
        sampler=sampler,
        steps=tuple(steps),
        evaluations=np.array([each.num_evaluations for each in found]),
        wasserstein=np.array([each.wasserstein for each in found]),
        pathwise=None if stochastic else np.array([each.pathwise for each in found], dtype=float),
        floor=sampling_floor(num_paths) if stochastic else max((each.wasserstein_floor for each in found), default=0.0),
    )


def sample_density(
    tell: Tell, sampler: str, diffusion: DiffusionSettings, num_inference_steps: int, num_paths: int
) -> SampleDensity:
    """What a sampler makes of noise, beside the truth."""
    end = solve(sampler, build_schedule(diffusion), num_inference_steps, num_samples=num_paths).end.numpy()
    x, edges = np.linspace(-3, 3, 300), np.linspace(-3, 3, 61)
    counts, _ = np.histogram(end[np.isfinite(end)], bins=edges)
    return SampleDensity(
        x=x,
        truth=MIXTURE.density(torch.from_numpy(x)).numpy(),
        centers=(edges[1:] + edges[:-1]) / 2,
        found=counts / (len(end) * np.diff(edges)),
    )
