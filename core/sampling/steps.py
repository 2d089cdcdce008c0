"""Sampling as a generator of frozen records; a picture depends on its seed and label only, not on its batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from core.diffusion.guidance import Guidance, GuidedOutput, guided_output
from core.diffusion.sampler_table import SAMPLERS, Sampler
from core.diffusion.samplers import (
    begin_at,
    build_sampler,
    initial_latents,
    network_input,
    sampler_state,
    scales_at,
)
from core.diffusion.schedule import to_pred_epsilon, to_pred_original
from core.errors import UsageError
from core.sampling.load import LoadedModel
from core.sampling.noise import class_labels, first_noise, noise_sources, takes_mixtures
from core.sampling.request import Branch, SampleRequest, Start, batches_of, check_guidance, check_pictures

OnProgress = Callable[[int, int], None]
SMALLEST_SCALE = 1e-6


@dataclass(frozen=True, kw_only=True)
class SamplerStep:
    """One network evaluation. Latents are (N, c, h, w), noisy_latents in the scale the U-Net was trained on.

    unguided_original: the clean latents that the conditional output alone implies; None without guidance.
    guidance_strength (N,): ‖guided - conditional‖ / ‖conditional‖ of the network's output.
    """

    index: int
    num_evaluations: int
    timestep: float
    signal_scale: float
    noise_scale: float
    noisy_latents: torch.Tensor
    pred_original_sample: torch.Tensor
    pred_epsilon: torch.Tensor
    next_latents: torch.Tensor
    unguided_original: torch.Tensor | None
    guidance_strength: torch.Tensor


def checked_sampler(model: LoadedModel, request: SampleRequest) -> Any:
    """The built sampler of a request that the model can answer.

    Raises UsageError for a label outside the classes, an unknown sampler or a pair that is refused.
    """
    check_pictures(request, model.class_names)
    if request.to_seeds and (row := SAMPLERS.get(request.sampler)) and row.stochastic:
        raise UsageError(
            f"sampler: '{request.sampler}' adds new noise at every step, so the last image would not be that of "
            "the other seed",
            "use unipc, dpmpp_2m, ddim or euler",
        )
    return _built(model, request)


def _built(model: LoadedModel, request: SampleRequest) -> Any:
    return build_sampler(
        request.sampler, model.schedule, request.num_inference_steps, whole_timesteps=request.whole_timesteps
    )


def sample_steps(
    model: LoadedModel, request: SampleRequest, *, branch: Branch | None = None, start: Start | None = None
) -> Iterator[SamplerStep]:
    """Denoise all of `request.labels` at once (ignoring batch_size), one record a network evaluation.

    The last record's next_latents are the finished latents. branch: go another way from one step on; start: begin there
    with real pictures. Raises UsageError like `checked_sampler`, before the first record.
    """
    return _SamplingRun(model, request, checked_sampler(model, request), branch, start).steps()


def sample(
    model: LoadedModel,
    request: SampleRequest,
    on_progress: OnProgress | None = None,
    on_step: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """Pictures (N, H, W, C) uint8 for all of `request.labels`, in batches. on_progress(pictures done, N).

    on_step: told after every step which share (0 to 1) is done; what it raises ends it.
    """
    sampler = checked_sampler(model, request)
    pictures = []
    for part in batches_of(request):
        before, each = part.first_index - request.first_index, len(part.labels) / request.num_inference_steps
        for step in _SamplingRun(model, part, copy.deepcopy(sampler)).steps():  # a sampler remembers its steps
            latents = step.next_latents
            on_step(min(1.0, (before + each * (step.index + 1)) / len(request.labels)))
        pictures.append(model.codec.decode_to_uint8(latents))
        if on_progress:
            on_progress(part.first_index - request.first_index + len(part.labels), len(request.labels))
    return np.concatenate(pictures)


class _SamplingRun:
    """One way from noise to pictures: which sampler, which labels and which guidance hold at which step."""

    def __init__(
        self,
        model: LoadedModel,
        request: SampleRequest,
        sampler: Any,
        branch: Branch | None = None,
        start: Start | None = None,
    ) -> None:
        self.model, self.request, self.branch, self.sampler = model, request, branch, sampler
        self.sources = noise_sources(request)
        self.labels = class_labels(request, model.num_classes, model.device)
        self.unet: Any = takes_mixtures(model.unet) if request.label_mix else model.unet
        total = len(self.sampler.timesteps)
        if branch:
            _check_step("branch", branch.at, total)
            changed = _branched_request(request, branch)
            check_pictures(changed, model.class_names)
            self.branch_sampler = _built(model, changed) if changed.sampler != request.sampler else sampler
        if start:
            _check_step("start", start.at, total - 1)
            expected = (len(request.labels), *model.latent_shape)
            if tuple(start.latents.shape) != expected:
                raise UsageError(f"start: latents of shape {tuple(start.latents.shape)} given, {expected} needed")
        self.start = start

    @torch.no_grad()
    def steps(self) -> Iterator[SamplerStep]:
        """The records, see `sample_steps`."""
        model, request, sampler = self.model, self.request, self.sampler
        noise = first_noise(request, self.sources, model.latent_shape, model.device)
        first, row = 0, SAMPLERS[request.sampler]
        if self.start:  # a solver of two stages begins between its steps
            first = self.start.at if row.begins_at(self.start.at) else self.start.at - 1
            latents = self._noised(self.start.latents.to(model.device), noise, first)
            begin_at(sampler, first)
        else:
            latents = initial_latents(model.schedule, sampler, noise)
        labels, guidance = self.labels, request.guidance
        total, index, done, began = len(sampler.timesteps), first, 0, first
        branch = self.branch
        while index < len(sampler.timesteps):
            if branch and done == branch.at:
                labels = self._branch_labels(branch)
                guidance = branch.guidance or guidance
                check_guidance(guidance)
                if branch.sampler and branch.sampler != request.sampler:
                    row = SAMPLERS[branch.sampler]
                    sampler, latents, index = self._change_sampler(row, sampler, latents, index, labels, guidance)
                    total, began = done + len(sampler.timesteps) - index, index
                branch = None
            timestep = sampler.timesteps[index]
            signal_scale, noise_scale = scales_at(model.schedule, sampler, index)
            noisy_latents = network_input(model.schedule, sampler, latents, timestep)
            output = self._guided(noisy_latents, timestep, labels, guidance, (signal_scale, noise_scale))
            extra: dict[str, Any] = {"generator": self.sources} if row.stochastic else {}
            if row.takes_order:  # diffusers takes it from the step's index, also when it began later
                extra["order"] = min(row.order, index - began + 1)
            latents = sampler.step(output.model_output, timestep, latents, **extra).prev_sample
            yield self._record(
                output, noisy_latents, latents, timestep, signal_scale, noise_scale, index=done, total=total - first
            )
            index, done = index + 1, done + 1

    def _branch_labels(self, branch: Branch) -> torch.Tensor:
        if not branch.labels:
            return self.labels
        labels = torch.tensor(branch.labels, device=self.model.device)
        if self.labels.is_floating_point():
            return torch.nn.functional.one_hot(labels, self.model.num_classes + 1).to(self.labels.dtype)
        return labels

    def _noised(self, clean: torch.Tensor, noise: torch.Tensor, index: int) -> torch.Tensor:
        """Clean latents at the noise level of step `index`, in the sampler's own scale."""
        signal, noisy = scales_at(self.model.schedule, self.sampler, index)
        return sampler_state(self.model.schedule, self.sampler, signal * clean + noisy * noise, index)

    def _guided(
        self,
        noisy_latents: torch.Tensor,
        timestep: torch.Tensor,
        labels: torch.Tensor,
        guidance: Guidance,
        scales: tuple[float, float],
    ) -> GuidedOutput:
        def denoise(noisy: torch.Tensor, at: torch.Tensor, class_labels: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.unet(noisy, at.expand(len(noisy)), class_labels=class_labels).sample
            return result

        return guided_output(
            denoise,
            noisy_latents,
            timestep.to(self.model.device, torch.float32),
            labels,
            guidance_scale=guidance.scale_at(
                float(timestep) / self.model.schedule.num_train_timesteps,
                signal_scale=scales[0],
                noise_scale=scales[1],
            ),
            unconditional_label=self.model.unconditional_label,
            rescale=guidance.rescale,
        )

    def _change_sampler(
        self, row: Sampler, old: Any, latents: torch.Tensor, index: int, labels: torch.Tensor, guidance: Guidance
    ) -> tuple[Any, torch.Tensor, int]:
        """(the new sampler, its state, its next step): it goes on at its timestep nearest to that of the old one.

        Where the two samplers do not visit the same noise level, one deterministic jump (DDIM, arXiv 2010.02502 eq. 12)
        along the network's answer takes the latents there.
        """
        schedule, new = self.model.schedule, self.branch_sampler
        timestep = old.timesteps[index]
        signal, noise = scales_at(schedule, old, index)
        noisy = network_input(schedule, old, latents, timestep)
        places = [place for place in range(len(new.timesteps)) if row.begins_at(place)]
        shares = {place: _noise_share(*scales_at(schedule, new, place)) for place in places}
        place = min(places, key=lambda candidate: abs(shares[candidate] - _noise_share(signal, noise)))
        goal_signal, goal_noise = scales_at(schedule, new, place)
        if (goal_signal, goal_noise) != (signal, noise):
            output = self._guided(noisy, timestep, labels, guidance, (signal, noise))
            kind = schedule.prediction_type
            clean = to_pred_original(kind, output.model_output, noisy, max(signal, SMALLEST_SCALE), noise)
            noisy = goal_signal * clean + goal_noise * to_pred_epsilon(clean, noisy, signal, max(noise, SMALLEST_SCALE))
        begin_at(new, place)
        return new, sampler_state(schedule, new, noisy, place), place

    def _record(
        self,
        output: GuidedOutput,
        noisy_latents: torch.Tensor,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        signal_scale: float,
        noise_scale: float,
        *,
        index: int,
        total: int,
    ) -> SamplerStep:
        kind, signal = self.model.schedule.prediction_type, max(signal_scale, SMALLEST_SCALE)
        clean = to_pred_original(kind, output.model_output, noisy_latents, signal, noise_scale)
        unguided = None
        strength = torch.zeros(len(clean))
        if output.difference is not None:
            unguided = to_pred_original(kind, output.conditional, noisy_latents, signal, noise_scale)
            moved = (output.model_output - output.conditional).flatten(1).norm(dim=1)
            strength = (moved / output.conditional.flatten(1).norm(dim=1).clamp_min(1e-12)).cpu()
        return SamplerStep(
            index=index,
            num_evaluations=total,
            timestep=float(timestep),
            signal_scale=signal_scale,
            noise_scale=noise_scale,
            noisy_latents=noisy_latents,
            pred_original_sample=clean,
            pred_epsilon=to_pred_epsilon(clean, noisy_latents, signal_scale, max(noise_scale, SMALLEST_SCALE)),
            next_latents=latents,
            unguided_original=unguided,
            guidance_strength=strength,
        )


def _branched_request(request: SampleRequest, branch: Branch) -> SampleRequest:
    guidance = branch.guidance or request.guidance
    return replace(
        request,
        labels=branch.labels or request.labels,
        sampler=branch.sampler or request.sampler,
        guidance_scale=guidance.scale,
        guidance_rescale=guidance.rescale,
        guidance_interval=guidance.interval,
    )


def _check_step(what: str, at: int, last: int) -> None:
    if not 0 <= at <= last:
        raise UsageError(f"{what}: step {at} does not exist, this path has steps 0 to {last}")


def _noise_share(signal: float, noise: float) -> float:
    return noise / (signal + noise)
