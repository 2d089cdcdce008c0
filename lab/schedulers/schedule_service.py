"""Schedules for a screen: tables, visited timesteps, what scaling does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import streamlit as st

from core.compute.questions import SCHEDULE_TABLE, VISITED_TIMESTEPS
from core.config.compatibility import offered_samplers, pair_problem
from core.config.schema import DiffusionSettings
from core.diffusion.quantities import effective_snr
from core.errors import LabError
from core.latent.inspection.vae_source import codec_of
from lab.services.computing import ask
from lab.services.runs import RunView, open_store, trained_unets


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One schedule to look at. label: for people. is_flow: its path is straight, and betas mean nothing."""

    label: str
    schedule: str
    num_train_timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    rescale_betas_zero_snr: bool = False

    @property
    def is_flow(self) -> bool:
        """True for flow matching."""
        return self.schedule == "flow"

    @property
    def prediction_type(self) -> str:
        """What a network would predict."""
        return "flow" if self.is_flow else "v_prediction"

    @property
    def diffusion(self) -> DiffusionSettings:
        """The settings that train with it."""
        return DiffusionSettings.model_validate(
            {
                "num_train_timesteps": self.num_train_timesteps,
                "schedule": self.schedule,
                "beta_start": self.beta_start,
                "beta_end": self.beta_end,
                "rescale_betas_zero_snr": self.rescale_betas_zero_snr,
                "prediction_type": self.prediction_type,
            }
        )

    @property
    def problem(self) -> str | None:
        """Why there is no such schedule, in one sentence, or None."""
        return pair_problem(
            schedule=self.schedule,
            prediction_type=self.prediction_type,
            rescale_betas_zero_snr=self.rescale_betas_zero_snr,
            beta_start=self.beta_start,
            beta_end=self.beta_end,
        )


def spec_of_run(view: RunView) -> Spec:
    """The schedule a run trains with. Raises LabError when its settings cannot be read."""
    diffusion = view.run.settings.diffusion
    return Spec(
        label=f"{diffusion.schedule}, {view.title}",
        schedule=diffusion.schedule,
        num_train_timesteps=diffusion.num_train_timesteps,
        beta_start=diffusion.beta_start,
        beta_end=diffusion.beta_end,
        rescale_betas_zero_snr=diffusion.rescale_betas_zero_snr,
    )


def readable_unets() -> list[RunView]:
    """Trained U-Net runs whose settings can be read, newest first."""
    found = []
    for view in trained_unets():
        try:
            spec_of_run(view)
        except LabError:
            continue
        found.append(view)
    return found


@st.cache_data(max_entries=64, show_spinner=False)
def table(spec: Spec) -> dict[str, np.ndarray]:
    """Every quantity over t, see `core.diffusion.schedule_table`."""
    return ask(SCHEDULE_TABLE, spec.diffusion)


@st.cache_data(max_entries=128, show_spinner=False)
def visited_by(spec: Spec, samplers: tuple[str, ...], num_inference_steps: int) -> dict[str, np.ndarray]:
    """Timesteps that each sampler visits on a schedule. Raises UsageError, with the reason, for a refused pair."""
    return ask(VISITED_TIMESTEPS, spec.diffusion, samplers, num_inference_steps)


def samplers_for(spec: Spec, num_inference_steps: int) -> tuple[list[str], dict[str, str]]:
    """(samplers that work on the schedule, the others with the reason). No signal left counts as zero SNR."""
    return offered_samplers(
        schedule=spec.schedule,
        prediction_type=spec.prediction_type,
        rescale_betas_zero_snr=not spec.is_flow and bool(table(spec)["signal_scale"][-1] == 0),
        num_inference_steps=num_inference_steps,
        num_train_timesteps=spec.num_train_timesteps,
    )


def channel_snr(spec: Spec, run_id: str) -> tuple[np.ndarray, np.ndarray]:
    """SNR (c, T) of the run's latents as its VAE gives them, and (T,) of the latents scaled to unit variance.

    Raises CheckpointError when the run's copy of its VAE cannot be read.
    """
    _, (_, scale) = codec_of(open_store().get(run_id))
    snr = table(spec)["snr"]
    return effective_snr(snr, [1.0 / each**2 for each in scale]), snr


def renamed(spec: Spec, label: str) -> Spec:
    """The same schedule under another name."""
    return replace(spec, label=label)
