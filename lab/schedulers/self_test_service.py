"""The exact-denoiser self-test for a screen. PyTorch is imported inside the functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.config.compatibility import MEASURED_STEPS, offered_samplers
from core.config.schema import DiffusionSettings
from core.diffusion.sampler_table import SAMPLERS

STEP_COUNTS = MEASURED_STEPS
PATHS, RANDOM_PATHS = 512, 16_384
HISTOGRAM_PATHS = 4096


@dataclass(frozen=True, kw_only=True)
class SolverCurve:
    """A sampler's errors over the STEP_COUNTS it can take: steps and network evaluations (n,), errors (n,), inf when
    diverged."""

    sampler: str
    steps: tuple[int, ...]
    evaluations: np.ndarray
    wasserstein: np.ndarray
    pathwise: np.ndarray | None
    floor: float


def _schedule(name: str, prediction_type: str):  # type: ignore[no-untyped-def]
    from core.diffusion.schedule import build_schedule

    return build_schedule(DiffusionSettings.model_validate({"schedule": name, "prediction_type": prediction_type}))


def offered(schedule: str, prediction_type: str, num_inference_steps: int) -> tuple[list[str], dict[str, str]]:
    """(samplers that the gate lets through, the others with the reason)."""
    return offered_samplers(schedule=schedule, prediction_type=prediction_type, num_inference_steps=num_inference_steps)


@st.cache_data(max_entries=256, show_spinner=False)
def solver_curve(sampler: str, schedule: str, prediction_type: str) -> SolverCurve:
    """Errors of one sampler over the step counts, by running it with a perfect network."""
    from core.diffusion.gaussian_mixture_test import sampling_floor, solver_error

    built = _schedule(schedule, prediction_type)
    stochastic = SAMPLERS[sampler].stochastic
    count = RANDOM_PATHS if stochastic else PATHS
    steps = [n for n in STEP_COUNTS if sampler in offered(schedule, prediction_type, n)[0]]
    found = [solver_error(sampler, built, n, num_samples=count) for n in steps]
    return SolverCurve(
        sampler=sampler,
        steps=tuple(steps),
        evaluations=np.array([each.num_evaluations for each in found]),
        wasserstein=np.array([each.wasserstein for each in found]),
        pathwise=None if stochastic else np.array([each.pathwise for each in found], dtype=float),
        floor=sampling_floor(count) if stochastic else max((each.wasserstein_floor for each in found), default=0.0),
    )


@st.cache_data(max_entries=64, show_spinner=False)
def histogram(sampler: str, schedule: str, prediction_type: str, steps: int) -> tuple[np.ndarray, ...]:
    """(x (M,), true density (M,), centres (B,), density of the samples (B,)) of the mixture."""
    import torch

    from core.diffusion.gaussian_mixture_test import MIXTURE, solve

    end = solve(sampler, _schedule(schedule, prediction_type), steps, num_samples=HISTOGRAM_PATHS).end.numpy()
    x = np.linspace(-3, 3, 300)
    edges = np.linspace(-3, 3, 61)
    counts, _ = np.histogram(end[np.isfinite(end)], bins=edges)
    density = counts / (len(end) * np.diff(edges))
    return x, MIXTURE.density(torch.from_numpy(x)).numpy(), (edges[1:] + edges[:-1]) / 2, density
