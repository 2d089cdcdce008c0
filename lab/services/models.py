"""Models ready to draw, shared by all sessions. PyTorch is imported inside the functions, at the first picture."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from core.config.pairs import offered_samplers, pair_warning
from core.errors import CheckpointError
from core.runs.listing import list_checkpoints
from core.runs.run import Run
from lab.services.runs import open_store

MAX_FRAMES = 101
MAX_KEPT_BYTES = 256 * 2**20
_ONE_AT_A_TIME = threading.Lock()  # load and inference together: a model must not be released under a session


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Pictures and their path. (F, N, H, W, C) uint8; steps, timesteps and scales (F,); the last frame is the end.

    A path of more than 101 frames is thinned out, the first and the last frame stay. `steps` counts from 0.
    """

    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    steps: np.ndarray
    timesteps: np.ndarray
    signal_scale: np.ndarray
    noise_scale: np.ndarray
    noisy_images: np.ndarray
    predicted_images: np.ndarray
    step: int

    @property
    def images(self) -> np.ndarray:
        """The finished pictures (N, H, W, C)."""
        return self.noisy_images[-1]

    @property
    def num_bytes(self) -> int:
        """Memory of the pictures."""
        return self.noisy_images.nbytes + self.predicted_images.nbytes


@st.cache_resource(max_entries=4, show_spinner=False)
def _load(run_id: str, step: int, weights: str = "ema", exactly: bool = False):  # type: ignore[no-untyped-def]
    """exactly: that checkpoint or an error; otherwise the newest that verifies."""
    from core.sampling.load import load_model

    run = open_store().get(run_id)
    device = run.settings.machine.device
    return load_model(run, device=device, weights=weights, step=step if exactly else None)  # type: ignore[arg-type]


@contextlib.contextmanager
def borrowed(run_id: str, step: int, weights: str = "ema") -> Iterator[Any]:
    """The model of one checkpoint (`core.sampling.load.LoadedModel`) while nobody else uses any. Raises a LabError."""
    with _ONE_AT_A_TIME:
        yield _load(run_id, step, weights, exactly=True)


def newest_step(run: Run) -> int:
    """Step of the newest checkpoint. Raises CheckpointError when there is none."""
    found = list_checkpoints(run)
    if not found:
        raise CheckpointError(f"{run.id}: has no checkpoint yet", "let it train until its first save")
    return found[-1].step


def classes_of(run: Run) -> tuple[str, ...]:
    """Names of the classes the run was trained on. Raises CheckpointError when its data.json cannot be read."""
    try:
        names = json.loads(run.data_path.read_text())["class_names"]
        return tuple(str(name) for name in names)
    except (OSError, ValueError, TypeError, KeyError):
        raise CheckpointError(f"{run.id}: its data.json cannot be read", "choose another run") from None


@st.cache_resource(show_spinner=False)
def _drawings() -> OrderedDict[tuple[Any, ...], Drawing]:
    """The newest drawings of all sessions; not st.cache_data, which cannot hold a function that shows progress."""
    return OrderedDict()


def draw(
    run_id: str,
    step: int,
    labels: tuple[int, ...],
    *,
    sampler: str,
    num_inference_steps: int,
    guidance_scale: float,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Drawing:
    """Sample with a run's checkpoint and keep the whole path. Raises a LabError in one sentence."""
    from core.sampling.steps import SampleRequest
    from core.sampling.trajectory import record

    key = (run_id, step, labels, sampler, num_inference_steps, guidance_scale, seed)
    with _ONE_AT_A_TIME:
        kept = _drawings()
        if key in kept:
            kept.move_to_end(key)
            return kept[key]
        model = _load(run_id, step)
        path = record(
            model,
            SampleRequest(
                labels=labels,
                sampler=sampler,
                num_inference_steps=num_inference_steps,
                guidance_scale=guidance_scale,
                seed=seed,
                batch_size=len(labels),
            ),
            on_progress,
        )
        last = len(path.timesteps) - 1
        keep = np.unique(np.linspace(0, last, min(last + 1, MAX_FRAMES)).round().astype(int))
        kept[key] = Drawing(
            labels=labels,
            class_names=model.class_names,
            steps=keep,
            timesteps=path.timesteps[keep],
            signal_scale=path.signal_scale[keep],
            noise_scale=path.noise_scale[keep],
            noisy_images=path.noisy_images[keep],
            predicted_images=path.predicted_images[keep],
            step=model.step,
        )
        while len(kept) > 1 and sum(drawing.num_bytes for drawing in kept.values()) > MAX_KEPT_BYTES:
            kept.popitem(last=False)
        return kept[key]


def sampler_choices(run: Run, num_inference_steps: int) -> tuple[list[str], dict[str, str]]:
    """(samplers that work with this run, the others with the reason why not)."""
    diffusion = run.settings.diffusion
    return offered_samplers(
        schedule=diffusion.schedule,
        prediction_type=diffusion.prediction_type,
        rescale_betas_zero_snr=diffusion.rescale_betas_zero_snr,
        num_inference_steps=num_inference_steps,
        num_train_timesteps=diffusion.num_train_timesteps,
    )


def poor_choice(run: Run, sampler: str, num_inference_steps: int) -> str | None:
    """Why a sampler that works is a poor choice at so few steps, with the number, or None."""
    return pair_warning(
        schedule=run.settings.diffusion.schedule, sampler=sampler, num_inference_steps=num_inference_steps
    )
