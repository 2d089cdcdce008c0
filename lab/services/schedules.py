"""Schedules for a screen: tables, noised pictures, decoded noised latents. PyTorch is imported inside the functions."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import streamlit as st

from core.config.load import resolve_path
from core.config.pairs import offered_samplers, pair_problem
from core.config.schema import DataSettings, DiffusionSettings
from core.errors import DataUnavailable, LabError, UsageError
from lab.services.runs import RunView, open_store, trained_unets
from lab.services.settings import current_settings

PICTURES = 4
FRAMES = 26
NOISE_SEED = 0
_ONE_AT_A_TIME = threading.Lock()


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
    def problem(self) -> str | None:
        """Why there is no such schedule, in one sentence, or None."""
        return pair_problem(
            schedule=self.schedule,
            prediction_type="flow" if self.is_flow else "v_prediction",
            rescale_betas_zero_snr=self.rescale_betas_zero_snr,
            beta_start=self.beta_start,
            beta_end=self.beta_end,
        )


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Held-out pictures (N, H, W, C) uint8 of different classes, with the classes' names."""

    title: str
    images: np.ndarray
    names: tuple[str, ...]


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


def _schedule(spec: Spec):  # type: ignore[no-untyped-def]
    from core.diffusion.schedule import build_schedule

    return build_schedule(
        DiffusionSettings.model_validate(
            {
                "num_train_timesteps": spec.num_train_timesteps,
                "schedule": spec.schedule,
                "beta_start": spec.beta_start,
                "beta_end": spec.beta_end,
                "rescale_betas_zero_snr": spec.rescale_betas_zero_snr,
                "prediction_type": "flow" if spec.is_flow else "v_prediction",
            }
        )
    )


@st.cache_data(max_entries=64, show_spinner=False)
def table(spec: Spec) -> dict[str, np.ndarray]:
    """Every quantity over t, see `core.diffusion.quantities.schedule_table`."""
    from core.diffusion.quantities import schedule_table

    return schedule_table(_schedule(spec))


def quantities():  # type: ignore[no-untyped-def]
    """The quantities by key, with formula and source."""
    from core.diffusion.quantities import QUANTITIES

    return QUANTITIES


def leak_limit() -> float:
    """√alpha_bar_T above which a schedule is said to leak."""
    from core.diffusion.quantities import LEAK

    return LEAK


@st.cache_data(max_entries=128, show_spinner=False)
def visited_by(spec: Spec, sampler: str, num_inference_steps: int) -> np.ndarray:
    """Timesteps a sampler visits on a schedule. Raises UsageError, with the reason, for a refused pair."""
    from core.diffusion.quantities import visited

    return visited(_schedule(spec), sampler, num_inference_steps)


def samplers_for(spec: Spec, num_inference_steps: int) -> tuple[list[str], dict[str, str]]:
    """(samplers that work on the schedule, the others with the reason)."""
    return offered_samplers(
        schedule=spec.schedule,
        prediction_type="flow" if spec.is_flow else "v_prediction",
        rescale_betas_zero_snr=spec.rescale_betas_zero_snr,
        num_inference_steps=num_inference_steps,
        num_train_timesteps=spec.num_train_timesteps,
    )


def pictures_for(run_id: str) -> Pictures:
    """A few held-out pictures: of the run's data set, else of that of config.yaml, else scikit-learn's digits.

    Nothing is downloaded. Raises DataUnavailable when not even the digits can be prepared.
    """
    settings = open_store().get(run_id).settings if run_id else current_settings()
    wanted = settings.data.model_copy(update={"download": False})
    places = current_settings().paths
    try:
        return _pictures(wanted, places.data, places.cache)
    except (DataUnavailable, UsageError):
        digits = DataSettings(name="digits", image_size=wanted.image_size, download=False)
        return _pictures(digits, places.data, places.cache)


@st.cache_resource(max_entries=8, show_spinner=False)
def _pictures(data: DataSettings, data_dir: str, cache_dir: str) -> Pictures:
    from core.data.arrays import prepare

    image_set = prepare(data, data_dir=resolve_path(data_dir), cache_dir=resolve_path(cache_dir))
    labels = np.asarray(image_set.heldout.labels)
    chosen = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)[:10]]
    return Pictures(
        title=image_set.title,
        images=np.stack([np.asarray(image_set.heldout.images[index]) for index in chosen]),
        names=tuple(image_set.class_names[int(labels[index])] for index in chosen),
    )


def times(spec: Spec, count: int = FRAMES) -> np.ndarray:
    """`count` timestep indices from 0 to T - 1."""
    return np.linspace(0, spec.num_train_timesteps - 1, count).round().astype(int)


@st.cache_data(max_entries=48, show_spinner=False)
def noised(spec: Spec, run_id: str, chosen: Sequence[int]) -> np.ndarray:
    """Pictures under growing noise (F, N, H, W, C) uint8, F as in `times`; the same noise for every schedule."""
    import torch

    from core.latent.codec import to_uint8

    clean = _to_model(pictures_for(run_id).images[list(chosen)])
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(NOISE_SEED))
    schedule = _schedule(spec)
    frames = [schedule.add_noise(clean, noise, torch.full((len(clean),), int(t))) for t in times(spec)]
    return np.stack([to_uint8(frame) for frame in frames])


@st.cache_data(max_entries=48, show_spinner=False)
def noised_latents(spec: Spec, run_id: str, chosen: Sequence[int]) -> np.ndarray:
    """What the run's decoder makes of its latents under growing noise (F, N, H, W, C) uint8.

    Raises CheckpointError when the run's copy of its VAE cannot be read.
    """
    import torch

    with _ONE_AT_A_TIME:
        codec = _codec(run_id)
        latents = codec.encode(_to_model(pictures_for(run_id).images[list(chosen)]))
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(NOISE_SEED))
        schedule = _schedule(spec)
        at = [torch.full((len(latents),), int(t)) for t in times(spec)]
        frames = torch.cat([schedule.add_noise(latents, noise, t) for t in at])
        return codec.decode_to_uint8(frames).reshape(
            len(at), len(latents), *codec.decode_to_uint8(latents[:1]).shape[1:]
        )


@st.cache_data(max_entries=16, show_spinner=False)
def channel_snr(spec: Spec, run_id: str) -> tuple[np.ndarray, np.ndarray]:
    """SNR (c, T) of the run's latents as its VAE gives them, and (T,) of the latents scaled to unit variance."""
    from core.diffusion.quantities import effective_snr

    schedule = _schedule(spec)
    raw = [1.0 / scale**2 for scale in _codec(run_id).scaling.scale]
    return effective_snr(schedule, raw), effective_snr(schedule, [1.0])[0]


@st.cache_resource(max_entries=4, show_spinner=False)
def _codec(run_id: str):  # type: ignore[no-untyped-def]
    import torch

    from core.sampling.load import load_codec

    return load_codec(open_store().get(run_id).vae_dir, torch.device("cpu"))


def _to_model(pictures: np.ndarray):  # type: ignore[no-untyped-def]
    import torch

    from core.data.batches import images_to_model

    return images_to_model(torch.from_numpy(np.ascontiguousarray(pictures)))


def renamed(spec: Spec, label: str) -> Spec:
    """The same schedule under another name."""
    return replace(spec, label=label)
