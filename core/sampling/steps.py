"""Sampling as a generator of frozen records; a picture depends on (seed, its index) only, not on its batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from core.diffusion.guidance import guided_output
from core.diffusion.samplers import build_sampler, initial_latents, is_stochastic, network_input, scales_at
from core.diffusion.schedule import to_pred_original
from core.errors import UsageError
from core.sampling.load import LoadedModel
from core.seeding import generator

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """What to draw. Picture i has label labels[i] and noise from (seed, first_index + i)."""

    labels: tuple[int, ...]
    sampler: str
    num_inference_steps: int
    guidance_scale: float
    seed: int
    batch_size: int = 256
    first_index: int = 0


@dataclass(frozen=True, kw_only=True)
class SamplerStep:
    """One network evaluation. Latents are (N, c, h, w), noisy_latents in the scale the U-Net was trained on."""

    index: int
    num_evaluations: int
    timestep: float
    signal_scale: float
    noise_scale: float
    noisy_latents: torch.Tensor
    pred_original_sample: torch.Tensor
    next_latents: torch.Tensor
    guidance_difference: torch.Tensor | None


def check_request(model: LoadedModel, request: SampleRequest) -> None:
    """Raises UsageError for a label outside the classes, an unknown sampler or a pair that is refused."""
    for label in request.labels:
        if not 0 <= label < model.num_classes:
            raise UsageError(
                f"labels: {label} is outside the classes 0 to {model.num_classes - 1} "
                f"({', '.join(model.class_names[:12])}{'…' if model.num_classes > 12 else ''})"
            )
    build_sampler(request.sampler, model.schedule, request.num_inference_steps)


@torch.no_grad()
def sample_steps(model: LoadedModel, request: SampleRequest) -> Iterator[SamplerStep]:
    """Denoise all of `request.labels` at once (ignoring batch_size), one record a network evaluation.

    The last record's next_latents are the finished latents. Raises UsageError like `check_request`.
    """
    check_request(model, request)
    sampler = build_sampler(request.sampler, model.schedule, request.num_inference_steps)
    count = len(request.labels)
    sources = [generator(request.seed, "sample", request.first_index + index) for index in range(count)]
    noise = torch.stack([torch.randn(model.latent_shape, generator=source) for source in sources])
    labels = torch.tensor(request.labels, device=model.device)
    latents = initial_latents(model.schedule, sampler, noise.to(model.device))
    extra = {"generator": sources} if is_stochastic(request.sampler) else {}

    def denoise(noisy_latents: torch.Tensor, timestep: torch.Tensor, class_labels: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = model.unet(noisy_latents, timestep, class_labels=class_labels).sample
        return result

    for index, timestep in enumerate(sampler.timesteps):
        signal_scale, noise_scale = scales_at(model.schedule, sampler, index)
        noisy_latents = network_input(model.schedule, sampler, latents, timestep)
        model_output, difference = guided_output(
            denoise,
            noisy_latents,
            timestep.to(model.device, torch.float32),
            labels,
            guidance_scale=request.guidance_scale,
            unconditional_label=model.unconditional_label,
        )
        latents = sampler.step(model_output, timestep, latents, **extra).prev_sample
        yield SamplerStep(
            index=index,
            num_evaluations=len(sampler.timesteps),
            timestep=float(timestep),
            signal_scale=signal_scale,
            noise_scale=noise_scale,
            noisy_latents=noisy_latents,
            pred_original_sample=to_pred_original(
                model.schedule.prediction_type, model_output, noisy_latents, max(signal_scale, 1e-6), noise_scale
            ),
            next_latents=latents,
            guidance_difference=difference,
        )


def sample(model: LoadedModel, request: SampleRequest, on_progress: OnProgress | None = None) -> np.ndarray:
    """Pictures (N, H, W, C) uint8 for all of `request.labels`, in batches. on_progress(pictures done, N)."""
    check_request(model, request)
    pictures = []
    for part in batches_of(request):
        last = deque(sample_steps(model, part), maxlen=1).pop()
        pictures.append(model.codec.decode_to_uint8(last.next_latents))
        if on_progress:
            on_progress(part.first_index - request.first_index + len(part.labels), len(request.labels))
    return np.concatenate(pictures)


def batches_of(request: SampleRequest) -> Iterator[SampleRequest]:
    """The request cut into parts of batch_size, each keeping its pictures' indices."""
    for start in range(0, len(request.labels), request.batch_size):
        yield SampleRequest(
            labels=request.labels[start : start + request.batch_size],
            sampler=request.sampler,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            seed=request.seed,
            batch_size=request.batch_size,
            first_index=request.first_index + start,
        )
