"""Sampling as a generator of frozen records; a picture depends on its seed and label only, not on its batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from core.diffusion.guidance import GuidedOutput, guided_output
from core.diffusion.samplers import (
    begin_at,
    build_sampler,
    initial_latents,
    is_first_order,
    is_stochastic,
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
LMS_ORDER = 4


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


def check_request(model: LoadedModel, request: SampleRequest) -> None:
    """Raises UsageError for a label outside the classes, an unknown sampler or a pair that is refused."""
    check_pictures(request, model.class_names)
    sampler_of(model, request)
    if request.to_seeds and is_stochastic(request.sampler):
        raise UsageError(
            f"sampler: '{request.sampler}' draws new noise at every step, so that a walk would not end in the picture "
            "of the other seed",
            "walk with unipc, dpmpp_2m, ddim or euler",
        )


def sampler_of(model: LoadedModel, request: SampleRequest) -> Any:
    """The sampler that the request names, for this model. Raises UsageError for a pair that is refused."""
    return build_sampler(
        request.sampler, model.schedule, request.num_inference_steps, whole_timesteps=request.whole_timesteps
    )


def sample_steps(
    model: LoadedModel, request: SampleRequest, *, branch: Branch | None = None, start: Start | None = None
) -> Iterator[SamplerStep]:
    """Denoise all of `request.labels` at once (ignoring batch_size), one record a network evaluation.

    The last record's next_latents are the finished latents. branch: go another way from one step on; start: begin there
    with real pictures. Raises UsageError like `check_request`, before the first record.
    """
    check_request(model, request)
    walk = _Walk(model, request, branch, start)
    return walk.steps()


def sample(
    model: LoadedModel,
    request: SampleRequest,
    on_progress: OnProgress | None = None,
    on_step: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """Pictures (N, H, W, C) uint8 for all of `request.labels`, in batches. on_progress(pictures done, N).

    on_step: told after every step which share (0 to 1) is done; what it raises ends it.
    """
    check_request(model, request)
    pictures = []
    for part in batches_of(request):
        before, each = part.first_index - request.first_index, len(part.labels) / request.num_inference_steps
        for step in sample_steps(model, part):
            latents = step.next_latents
            on_step(min(1.0, (before + each * (step.index + 1)) / len(request.labels)))
        pictures.append(model.codec.decode_to_uint8(latents))
        if on_progress:
            on_progress(part.first_index - request.first_index + len(part.labels), len(request.labels))
    return np.concatenate(pictures)


class _Walk:
    """One way from noise to pictures: which sampler, which labels and which guidance hold at which step."""

    def __init__(self, model: LoadedModel, request: SampleRequest, branch: Branch | None, start: Start | None) -> None:
        self.model, self.request, self.branch = model, request, branch
        self.sampler = sampler_of(model, request)
        self.sources = noise_sources(request)
        self.labels = class_labels(request, model.num_classes, model.device)
        self.unet: Any = takes_mixtures(model.unet) if request.label_mix else model.unet
        total = len(self.sampler.timesteps)
        if branch:
            _check_step("branch", branch.at, total)
            changed = _branched_request(request, branch)
            check_pictures(changed, model.class_names)
            sampler_of(model, changed)
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
        first = 0
        if self.start:
            first = _first_order_index(request.sampler, self.start.at)
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
                    sampler, latents, index = self._change_sampler(branch, sampler, latents, index, labels, guidance)
                    total, began = done + len(sampler.timesteps) - index, index
                branch = None
            name = self._name_at(sampler)
            timestep = sampler.timesteps[index]
            signal_scale, noise_scale = scales_at(model.schedule, sampler, index)
            noisy_latents = network_input(model.schedule, sampler, latents, timestep)
            told = self._ask(noisy_latents, timestep, labels, guidance)
            extra: dict[str, Any] = {"generator": self.sources} if is_stochastic(name) else {}
            if name == "lms":  # diffusers takes its order from the step's index, also when it began later
                extra["order"] = min(LMS_ORDER, index - began + 1)
            latents = sampler.step(told.model_output, timestep, latents, **extra).prev_sample
            yield self._record(
                told, noisy_latents, latents, timestep, signal_scale, noise_scale, index=done, total=total - first
            )
            index, done = index + 1, done + 1

    def _name_at(self, sampler: Any) -> str:
        changed = sampler is not self.sampler and self.branch and self.branch.sampler
        return changed or self.request.sampler

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

    def _ask(
        self, noisy_latents: torch.Tensor, timestep: torch.Tensor, labels: torch.Tensor, guidance: Any
    ) -> GuidedOutput:
        def denoise(noisy: torch.Tensor, at: torch.Tensor, class_labels: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.unet(noisy, at, class_labels=class_labels).sample
            return result

        return guided_output(
            denoise,
            noisy_latents,
            timestep.to(self.model.device, torch.float32),
            labels,
            guidance_scale=guidance.scale_at(float(timestep) / self.model.schedule.num_train_timesteps),
            unconditional_label=self.model.unconditional_label,
            rescale=guidance.rescale,
        )

    def _change_sampler(
        self, branch: Branch, old: Any, latents: torch.Tensor, index: int, labels: torch.Tensor, guidance: Any
    ) -> tuple[Any, torch.Tensor, int]:
        """(the new sampler, its state, its next step): it goes on at its timestep nearest to that of the old one.

        Where the two samplers do not visit the same noise level, one deterministic jump (DDIM, arXiv 2010.02502 eq. 12)
        along the network's answer takes the latents there.
        """
        schedule = self.model.schedule
        assert branch.sampler is not None
        new = sampler_of(self.model, _branched_request(self.request, branch))
        timestep = old.timesteps[index]
        signal, noise = scales_at(schedule, old, index)
        noisy = network_input(schedule, old, latents, timestep)
        places = [place for place in range(len(new.timesteps)) if is_first_order(branch.sampler, place)]
        shares = {place: _noise_share(*scales_at(schedule, new, place)) for place in places}
        place = min(places, key=lambda candidate: abs(shares[candidate] - _noise_share(signal, noise)))
        goal_signal, goal_noise = scales_at(schedule, new, place)
        if (goal_signal, goal_noise) != (signal, noise):
            told = self._ask(noisy, timestep, labels, guidance)
            kind = schedule.prediction_type
            clean = to_pred_original(kind, told.model_output, noisy, max(signal, SMALLEST_SCALE), noise)
            noisy = goal_signal * clean + goal_noise * to_pred_epsilon(clean, noisy, signal, max(noise, SMALLEST_SCALE))
        begin_at(new, place)
        return new, sampler_state(schedule, new, noisy, place), place

    def _record(
        self,
        told: GuidedOutput,
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
        clean = to_pred_original(kind, told.model_output, noisy_latents, signal, noise_scale)
        unguided = None
        strength = torch.zeros(len(clean))
        if told.difference is not None:
            unguided = to_pred_original(kind, told.conditional, noisy_latents, signal, noise_scale)
            moved = (told.model_output - told.conditional).flatten(1).norm(dim=1)
            strength = (moved / told.conditional.flatten(1).norm(dim=1).clamp_min(1e-12)).cpu()
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


def _first_order_index(name: str, at: int) -> int:
    """The step at or before `at` where a two-stage solver is between its steps."""
    return at if is_first_order(name, at) else at - 1


def _check_step(what: str, at: int, last: int) -> None:
    if not 0 <= at <= last:
        raise UsageError(f"{what}: step {at} does not exist, this path has steps 0 to {last}")


def _noise_share(signal: float, noise: float) -> float:
    return noise / (signal + noise)
