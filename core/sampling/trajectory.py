"""The recorded path of a sample: what a person can look at, at every step of the denoising."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch

from core.errors import LabError
from core.sampling.drawing import Curves, Layers
from core.sampling.load import LoadedModel
from core.sampling.request import Branch, SampleRequest, Start
from core.sampling.steps import SamplerStep, sample_steps

OnStep = Callable[[int, int, Callable[[], np.ndarray]], None]
MOST_LOG_SNR = 20.0  # log-SNR of clean pictures is infinite; curves end here


class SamplingCancelled(LabError):
    """Somebody asked to stop between two steps. Nothing of the drawing is kept."""


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """F frames (network evaluations, then the finished picture) of N pictures; pictures are (…, H, W, C) uint8.

    steps (F,): which network evaluation a frame is before, from 0; all of them unless fewer frames were asked for.
    timesteps (F,) falling to 0; signal_scale, noise_scale (F,); noisy_images and predicted_images (F, N, H, W, C).
    layers: None when they were not asked for.
    """

    labels: tuple[int, ...]
    steps: np.ndarray
    timesteps: np.ndarray
    signal_scale: np.ndarray
    noise_scale: np.ndarray
    noisy_images: np.ndarray
    predicted_images: np.ndarray
    layers: Layers | None = None

    @property
    def images(self) -> np.ndarray:
        """The finished pictures (N, H, W, C)."""
        return self.noisy_images[-1]


def record(
    model: LoadedModel,
    request: SampleRequest,
    on_step: OnStep | None = None,
    *,
    with_layers: bool = False,
    branch: Branch | None = None,
    start: Start | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    most_frames: int | None = None,
) -> Trajectory:
    """Sample all of `request.labels` at once and keep every step, or `most_frames` of them with both ends.

    on_step(steps done, steps with the finished picture, look) after each step that is kept; look() decodes the
    predicted clean pictures (N, H, W, C), in the end the finished ones. The frames are decoded after that: nobody waits
    for them to see the pictures. Raises SamplingCancelled when should_stop said so, UsageError as `sample_steps`.
    """
    decode = model.codec.decode_to_uint8
    count = len(request.labels)
    steps: list[SamplerStep] = []
    looks: list[Callable[[], np.ndarray]] = []
    final = torch.empty(0)
    total = 0

    def go_on() -> None:
        if should_stop():
            raise SamplingCancelled("generating: cancelled")

    for step in sample_steps(model, request, branch=branch, start=start):
        go_on()
        final, total = step.next_latents, step.num_evaluations
        if step.index not in _kept_frames(total, most_frames):
            continue
        steps.append(step)
        looks.append(lru_cache(partial(decode, step.pred_original_sample)))
        if on_step:
            on_step(step.index + 1, total + 1, looks[-1])
    images = decode(final)
    if on_step:
        on_step(total + 1, total + 1, lambda: images)
    noisy: list[np.ndarray] = []
    predicted: list[np.ndarray] = []
    changes: list[np.ndarray | None] = []
    for step, look in zip(steps, looks, strict=True):
        go_on()
        unguided = step.unguided_original if with_layers else None
        others = [] if unguided is None else [unguided]
        if on_step is None:  # nobody looked: all at once
            pictures = decode(torch.cat([step.noisy_latents, step.pred_original_sample, *others]))
        else:
            beside = decode(torch.cat([step.noisy_latents, *others]))
            pictures = np.concatenate([beside[:count], look(), beside[count:]])
        noisy.append(pictures[:count])
        predicted.append(pictures[count : 2 * count])
        changes.append(None if unguided is None else predicted[-1].astype(np.int16) - pictures[2 * count :])
    return Trajectory(
        labels=branch.labels if branch and branch.labels else request.labels,
        steps=np.array([*(step.index for step in steps), total]),
        timesteps=np.array([*(step.timestep for step in steps), 0.0]),
        signal_scale=np.array([*(step.signal_scale for step in steps), 1.0]),
        noise_scale=np.array([*(step.noise_scale for step in steps), 0.0]),
        noisy_images=np.stack([*noisy, images]),
        predicted_images=np.stack([*predicted, images]),
        layers=_layers(steps, final, changes, images) if with_layers else None,
    )


@lru_cache(maxsize=64)
def _kept_frames(total: int, most_frames: int | None) -> frozenset[int]:
    """Of the frames 0 to `total`, evenly `most_frames` with the first and the last."""
    count = total + 1 if most_frames is None else min(total + 1, max(2, most_frames))
    return frozenset(int(place) for place in np.linspace(0, total, count).round())


def _layers(
    steps: list[SamplerStep], final: torch.Tensor, changes: list[np.ndarray | None], images: np.ndarray
) -> Layers:
    nothing = np.zeros(images.shape, dtype=np.int16)
    change = None
    if any(part is not None for part in changes):
        change = np.stack([*(nothing if part is None else part for part in changes), nothing])
    latents = torch.stack([*(step.noisy_latents for step in steps), final]).float().cpu()
    noise = torch.stack([*(step.pred_epsilon for step in steps), steps[-1].pred_epsilon]).half().cpu()
    strength = torch.stack([*(step.guidance_strength for step in steps), torch.zeros(len(final))])
    return Layers(
        latents=latents.numpy(),
        predicted_noise=noise.numpy(),
        guidance_change=change,
        curves=Curves(
            log_snr=log_snr(
                [step.signal_scale for step in steps] + [1.0], [step.noise_scale for step in steps] + [0.0]
            ),
            latent_norm=latents.flatten(2).square().mean(2).sqrt().numpy(),
            guidance_strength=strength.numpy(),
            straightness=straightness(
                latents,
                torch.tensor([step.signal_scale + step.noise_scale for step in steps] + [1.0]),
            ).numpy(),
        ),
    )


def log_snr(signal_scale: list[float], noise_scale: list[float]) -> np.ndarray:
    """log(signal² / noise²) (F,), cut off at ±20."""
    with np.errstate(divide="ignore"):
        value = 2 * (np.log(np.array(signal_scale)) - np.log(np.array(noise_scale)))
    return np.clip(value, -MOST_LOG_SNR, MOST_LOG_SNR).astype(np.float32)


def straightness(latents: torch.Tensor, total_scale: torch.Tensor) -> torch.Tensor:
    """latents (F, N, c, h, w), total_scale (F,) = signal + noise → (F, N), see `Curves`."""
    places = latents.flatten(2) / total_scale.to(latents)[:, None, None]
    moves = places[1:] - places[:-1]
    whole = places[-1:] - places[:1]
    cosine = torch.nn.functional.cosine_similarity(moves, whole.expand_as(moves), dim=2)
    return torch.cat([cosine, cosine[-1:]])
