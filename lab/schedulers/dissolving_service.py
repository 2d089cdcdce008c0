"""Held-out images and latents under growing noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from core.compute.questions import CLASS_IMAGES, DECODE_AHEAD, NOISED_IMAGES, NOISED_LATENTS
from core.config.schema import DataSettings
from core.config.site import SiteSettings
from core.data.one_per_class import ClassImages
from core.diffusion.noise_levels import nearest_levels
from core.errors import DataUnavailable, UsageError
from lab.schedulers.schedule_service import Spec, table
from lab.services import background
from lab.services.background import Work
from lab.services.computing import ask, asked
from lab.services.runs import open_store
from lab.services.settings import current_settings, current_site

PICTURES = 4
FRAMES = 21
AHEAD_PIXELS = 64 * 64 * 3  # values of the largest image that is decoded before anybody asks


def pictures_for(run_id: str) -> ClassImages:
    """A few held-out images: of the run's dataset, else of that of config.yaml, else scikit-learn's digits.

    Nothing is downloaded. Raises DataUnavailable when not even the digits can be prepared.
    """
    settings = open_store().get(run_id).settings if run_id else current_settings()
    try:
        return _pictures(settings.data, current_site())
    except (DataUnavailable, UsageError):
        digits = DataSettings(name="digits", image_size=settings.data.image_size)
        return _pictures(digits, current_site())


@st.cache_resource(max_entries=8, show_spinner=False)
def _pictures(data: DataSettings, site: SiteSettings) -> ClassImages:
    return ask(CLASS_IMAGES, data, site)


def times(spec: Spec, count: int = FRAMES) -> np.ndarray:
    """`count` timestep indices from 0 to T - 1."""
    return np.linspace(0, spec.num_train_timesteps - 1, count).round().astype(int)


def noise_weights(spec: Spec) -> np.ndarray:
    """(F, 2): weights of the image and of the noise at each of `times`."""
    columns = table(spec)
    return np.stack([columns["signal_scale"], columns["noise_scale"]], axis=1)[times(spec)]


def noised(specs: Sequence[Spec], images: np.ndarray) -> np.ndarray:
    """Images (N, H, W, C) uint8 under growing noise (F, S * N, H, W, C) uint8, F as in `times`, S the schedules."""
    return ask(NOISED_IMAGES, np.stack([noise_weights(spec) for spec in specs]), images)


def noised_latents(specs: Sequence[Spec], run_id: str, images: np.ndarray) -> np.ndarray:
    """What the run's decoder makes of its latents under growing noise, as `noised`.

    Each frame shows the nearest noise level of `core.diffusion.noise_levels`, so that what was decoded for one schedule
    serves the next. Raises CheckpointError when the run's copy of its VAE cannot be read.
    """
    levels = [(spec.is_flow, nearest_levels(*noise_weights(spec).T).tolist()) for spec in specs]
    return ask(NOISED_LATENTS, run_id, levels, images, current_site())


def decode_ahead(run_id: str, pictures: ClassImages) -> Work | None:
    """Decode in the background what other schedules and images will show; soon done when all of it is known.

    None for images that are too large.
    """
    if pictures.images[0].size > AHEAD_PIXELS:
        return None
    return background.begin(f"decode ahead {run_id}", asked(DECODE_AHEAD, run_id, pictures.images, current_site()))
