"""Held-out pictures and latents under growing noise. PyTorch is imported inside the functions."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from core.config.schema import DataSettings
from core.errors import DataUnavailable, LabError, UsageError
from lab.schedulers.schedule_service import Spec, codec_of, table
from lab.services.runs import open_store
from lab.services.settings import current_settings, current_site

PICTURES = 4
FRAMES = 21
LEVELS = 46  # noise levels at which latents are decoded: two degrees of arctan(noise weight / picture weight) apart
NOISE_SEED = 0
AHEAD_PIXELS = 64 * 64 * 3  # values of the largest picture that is decoded before anybody asks
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Held-out pictures (N, H, W, C) uint8 of different classes, with the classes' names."""

    title: str
    images: np.ndarray
    names: tuple[str, ...]


def pictures_for(run_id: str) -> Pictures:
    """A few held-out pictures: of the run's data set, else of that of config.yaml, else scikit-learn's digits.

    Nothing is downloaded. Raises DataUnavailable when not even the digits can be prepared.
    """
    settings = open_store().get(run_id).settings if run_id else current_settings()
    wanted = settings.data.model_copy(update={"download": False})
    site = current_site()
    try:
        return _pictures(wanted, str(site.data), str(site.cache))
    except (DataUnavailable, UsageError):
        digits = DataSettings(name="digits", image_size=wanted.image_size, download=False)
        return _pictures(digits, str(site.data), str(site.cache))


@st.cache_resource(max_entries=8, show_spinner=False)
def _pictures(data: DataSettings, data_dir: str, cache_dir: str) -> Pictures:
    from core.data.arrays import prepare

    image_set = prepare(data, data_dir=Path(data_dir), cache_dir=Path(cache_dir))
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


def noised(spec: Spec, images: np.ndarray) -> np.ndarray:
    """Pictures (N, H, W, C) uint8 under growing noise (F, N, H, W, C) uint8, F as in `times`.

    The noise is the same for every schedule and every picture.
    """
    import torch

    clean = images / 127.5 - 1.0
    noise = torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(NOISE_SEED)).numpy()
    columns = table(spec)
    at = times(spec)
    signal, sigma = (columns[name][at].reshape(-1, 1, 1, 1, 1) for name in ("signal_scale", "noise_scale"))
    frames = (signal * clean + sigma * noise).clip(-1, 1)
    return ((frames + 1) * 127.5).round().astype(np.uint8)


def noised_latents(spec: Spec, run_id: str, chosen: Sequence[int], images: np.ndarray) -> np.ndarray:
    """What the run's decoder makes of its latents under growing noise (F, N, H, W, C) uint8.

    images (N, H, W, C) uint8 are those `chosen` of `pictures_for`. Each frame shows the nearest of `LEVELS` noise
    levels, so that what was decoded for one schedule serves the next: a degree off at most, which is 0.018 in either
    weight. Raises CheckpointError when the run's copy of its VAE cannot be read.
    """
    levels = noise_levels(spec).tolist()
    known = _known(run_id, dict(zip(chosen, images, strict=True)), set(levels), is_flow=spec.is_flow)
    return np.stack([[found[level] for found in known] for level in levels])


def decode_ahead(run_id: str, pictures: Pictures) -> threading.Thread | None:
    """Decode in the background what other schedules and pictures will show, once per server and run.

    The thread that does so; None for pictures that are too large.
    """
    return _decode_ahead(run_id, pictures) if pictures.images[0].size <= AHEAD_PIXELS else None


@st.cache_resource(max_entries=16, show_spinner=False)
def _decode_ahead(run_id: str, _pictures: Pictures) -> threading.Thread:
    def decode() -> None:
        with contextlib.suppress(LabError):  # the page itself says what is wrong with the run
            for picture, image in enumerate(_pictures.images):
                for is_flow in (False, True):
                    _known(run_id, {picture: image}, set(range(LEVELS)), is_flow=is_flow)

    codec_of(run_id)  # what cannot be read is told to who asks, and asked again
    thread = threading.Thread(target=decode, name=f"decode ahead {run_id}", daemon=True)
    thread.start()
    return thread


def _known(
    run_id: str, images: dict[int, np.ndarray], levels: set[int], *, is_flow: bool
) -> list[dict[int, np.ndarray]]:
    """A dict a picture with at least the `levels`, what is missing being decoded in one batch."""
    codec = codec_of(run_id)
    with _ONE_AT_A_TIME:
        known = {picture: _decoded(run_id, picture, is_flow) for picture in images}
        missing = [(picture, level) for picture, found in known.items() for level in sorted(levels - found.keys())]
        if missing:
            few = sorted({picture for picture, _ in missing})
            clean = codec.encode(_to_model(np.stack([images[picture] for picture in few])))
            latents = dict(zip(few, clean, strict=True))
            for (picture, level), pixels in zip(missing, _decode(codec, latents, missing, is_flow), strict=True):
                known[picture][level] = pixels
        return [known[picture] for picture in images]


def _decode(codec, latents, wanted: Sequence[tuple[int, int]], is_flow: bool) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Latents {picture: (c, h, w)} noised at each (picture, level) and decoded: (len(wanted), H, W, C) uint8."""
    import torch

    shape = next(iter(latents.values())).shape
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(NOISE_SEED))
    mixed = []
    for picture, level in wanted:
        signal, sigma = level_weights(level, is_flow=is_flow)
        mixed.append(signal * latents[picture] + sigma * noise)
    return codec.decode_to_uint8(torch.stack(mixed))


def noise_levels(spec: Spec) -> np.ndarray:
    """The nearest of `LEVELS` noise levels at each of `times`: (F,) from 0 (picture) to LEVELS - 1 (noise)."""
    columns = table(spec)
    at = times(spec)
    angle = np.arctan2(columns["noise_scale"][at], columns["signal_scale"][at])
    return (angle / (np.pi / 2) * (LEVELS - 1)).round().astype(int)


def level_weights(level: int, *, is_flow: bool) -> tuple[float, float]:
    """Weights of the picture and of the noise at a level: a circle, or for flow matching a straight line."""
    angle = np.pi / 2 * level / (LEVELS - 1)
    signal, sigma = float(np.cos(angle)), float(np.sin(angle))
    total = signal + sigma if is_flow else 1.0
    return signal / total, sigma / total


@st.cache_resource(max_entries=128, show_spinner=False)
def _decoded(run_id: str, picture: int, is_flow: bool) -> dict[int, np.ndarray]:
    """What was decoded of a picture before, by noise level: (H, W, C) uint8 each."""
    return {}


def _to_model(pictures: np.ndarray):  # type: ignore[no-untyped-def]
    import torch

    from core.data.batches import images_to_model

    return images_to_model(torch.from_numpy(np.ascontiguousarray(pictures)))
