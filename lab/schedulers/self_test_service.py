"""The exact-denoiser self-test for a screen."""

from __future__ import annotations

import streamlit as st

from core.compute.questions import SAMPLE_DENSITY, SOLVER_CURVE
from core.config.compatibility import MEASURED_STEPS, offered_samplers
from core.config.schema import DiffusionSettings
from core.diffusion.sampler_table import SAMPLERS
from core.diffusion.solver_curve import SampleDensity, SolverCurve
from lab.services.computing import ask

STEP_COUNTS = MEASURED_STEPS
PATHS, RANDOM_PATHS = 512, 16_384
HISTOGRAM_PATHS = 4096


def _diffusion(schedule: str, prediction_type: str) -> DiffusionSettings:
    return DiffusionSettings.model_validate({"schedule": schedule, "prediction_type": prediction_type})


def offered(schedule: str, prediction_type: str, num_inference_steps: int) -> tuple[list[str], dict[str, str]]:
    """(samplers that the gate lets through, the others with the reason)."""
    return offered_samplers(schedule=schedule, prediction_type=prediction_type, num_inference_steps=num_inference_steps)


@st.cache_data(max_entries=256, show_spinner=False)
def solver_curve(sampler: str, schedule: str, prediction_type: str) -> SolverCurve:
    """Errors of one sampler over the step counts, by running it with a perfect network."""
    steps = [n for n in STEP_COUNTS if sampler in offered(schedule, prediction_type, n)[0]]
    num_paths = RANDOM_PATHS if SAMPLERS[sampler].stochastic else PATHS
    return ask(SOLVER_CURVE, sampler, _diffusion(schedule, prediction_type), steps, num_paths)


@st.cache_data(max_entries=64, show_spinner=False)
def histogram(sampler: str, schedule: str, prediction_type: str, steps: int) -> SampleDensity:
    """What a sampler makes of noise, beside the truth."""
    return ask(SAMPLE_DENSITY, sampler, _diffusion(schedule, prediction_type), steps, HISTOGRAM_PATHS)
