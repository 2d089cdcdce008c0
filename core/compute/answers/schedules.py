"""Noise schedules for a screen: their quantities, the timesteps that samplers visit, images under their noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from core.compute.answers.images import images_here
from core.compute.question import Tell
from core.config.schema import DataSettings, DiffusionSettings
from core.config.site import SiteSettings
from core.data.one_per_class import ClassImages, one_per_class
from core.diffusion import schedule_table as tables
from core.diffusion.schedule import build_schedule

NOISE_SEED = 0


def schedule_table(tell: Tell, diffusion: DiffusionSettings) -> dict[str, np.ndarray]:
    """Every quantity over t, see `core.diffusion.schedule_table`. Raises ConfigError for an impossible schedule."""
    return tables.schedule_table(build_schedule(diffusion))


def visited_timesteps(
    tell: Tell, diffusion: DiffusionSettings, samplers: Sequence[str], num_inference_steps: int
) -> dict[str, np.ndarray]:
    """The timesteps that each sampler visits, first to last. Raises UsageError, with the reason, for a refused pair."""
    schedule = build_schedule(diffusion)
    return {sampler: tables.visited(schedule, sampler, num_inference_steps) for sampler in samplers}


def class_images(tell: Tell, data: DataSettings, site: SiteSettings) -> ClassImages:
    """A held-out image of each class. Nothing is downloaded. Raises DataUnavailable."""
    return one_per_class(images_here(data, site, progress=tell))


def noised_images(tell: Tell, weights: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Images (N, H, W, C) uint8 under noise, (F, S * N, H, W, C) uint8: the N of the first schedule, of the second, …

    weights (S, F, 2): of image and noise, for each schedule and frame. All have the same noise.
    """
    clean = images / 127.5 - 1.0
    noise = noise_of(clean.shape[1:]).numpy()
    shown = []
    for signal, sigma in np.moveaxis(weights, 2, 1)[..., None, None, None, None]:
        frames = (signal * clean + sigma * noise).clip(-1, 1)
        shown.append(((frames + 1) * 127.5).round().astype(np.uint8))
    return np.concatenate(shown, axis=1)


def noise_of(shape: tuple[int, ...]) -> torch.Tensor:
    """The noise of every image or latent of this shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(NOISE_SEED))
