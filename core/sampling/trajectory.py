"""The recorded path of a sample: what the decoder shows of x_t and of the predicted clean latents at every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from core.sampling.load import LoadedModel
from core.sampling.steps import SampleRequest, sample_steps


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """F frames (network evaluations, then the finished picture) of N pictures; pictures are (…, H, W, C) uint8.

    timesteps (F,) falling to 0; signal_scale, noise_scale (F,); noisy_images and predicted_images (F, N, H, W, C).
    """

    labels: tuple[int, ...]
    timesteps: np.ndarray
    signal_scale: np.ndarray
    noise_scale: np.ndarray
    noisy_images: np.ndarray
    predicted_images: np.ndarray

    @property
    def images(self) -> np.ndarray:
        """The finished pictures (N, H, W, C)."""
        return self.noisy_images[-1]


def record(
    model: LoadedModel, request: SampleRequest, on_progress: Callable[[int, int], None] | None = None
) -> Trajectory:
    """Sample all of `request.labels` at once and keep every step. on_progress(frames done, frames)."""
    facts: list[tuple[float, float, float]] = []
    noisy: list[np.ndarray] = []
    predicted: list[np.ndarray] = []
    final = torch.empty(0)
    for step in sample_steps(model, request):
        facts.append((step.timestep, step.signal_scale, step.noise_scale))
        both = model.codec.decode_to_uint8(torch.cat([step.noisy_latents, step.pred_original_sample]))
        noisy.append(both[: len(request.labels)])
        predicted.append(both[len(request.labels) :])
        final = step.next_latents
        if on_progress:
            on_progress(step.index + 1, step.num_evaluations + 1)
    images = model.codec.decode_to_uint8(final)
    facts.append((0.0, 1.0, 0.0))
    timesteps, signal_scale, noise_scale = (np.array(column) for column in zip(*facts, strict=True))
    return Trajectory(
        labels=request.labels,
        timesteps=timesteps,
        signal_scale=signal_scale,
        noise_scale=noise_scale,
        noisy_images=np.stack([*noisy, images]),
        predicted_images=np.stack([*predicted, images]),
    )
