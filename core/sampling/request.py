"""What to draw: labels, noise and sampler of every picture, and the ways of not starting from plain noise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.config.interval import Interval, checked_interval
from core.diffusion.guidance import Guidance
from core.errors import UsageError
from core.rules import NEWEST

if TYPE_CHECKING:
    import torch

    from core.config.schema import SamplingSettings


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """N pictures, told one by one.

    Picture i has label labels[i] and noise from (seed, first_index + i); with `seeds` its noise is that of picture
    places[i] (0 without `places`) of seed seeds[i], whatever stands beside it. to_labels with label_mix[i] in [0, 1]
    mixes the class embeddings; to_seeds with noise_mix[i] turns the noise on the sphere towards that of another seed.
    whole_timesteps: see build_sampler. noise_rule: version of how seed and place become noise, see core.rules.
    """

    labels: tuple[int, ...]
    sampler: str
    num_inference_steps: int
    guidance_scale: float
    seed: int
    batch_size: int = 256
    first_index: int = 0
    guidance_rescale: float = 0.0
    guidance_interval: Interval = (0.0, 1.0)
    whole_timesteps: bool = False
    seeds: tuple[int, ...] = ()
    places: tuple[int, ...] = ()
    to_labels: tuple[int, ...] = ()
    label_mix: tuple[float, ...] = ()
    to_seeds: tuple[int, ...] = ()
    noise_mix: tuple[float, ...] = ()
    noise_rule: int = NEWEST.noise

    @property
    def guidance(self) -> Guidance:
        """Scale, rescale and interval."""
        return Guidance(scale=self.guidance_scale, rescale=self.guidance_rescale, interval=self.guidance_interval)


def request_of(
    sampling: SamplingSettings, labels: Iterable[int], *, noise_rule: int, seed: int | None = None
) -> SampleRequest:
    """These labels with everything else from the settings; seed: instead of sampling.seed."""
    return SampleRequest(
        labels=tuple(int(label) for label in labels),
        sampler=sampling.sampler,
        num_inference_steps=sampling.num_inference_steps,
        guidance_scale=sampling.guidance_scale,
        guidance_rescale=sampling.guidance_rescale,
        guidance_interval=sampling.guidance_interval,
        whole_timesteps=sampling.whole_timesteps,
        seed=sampling.seed if seed is None else seed,
        batch_size=sampling.batch_size,
        noise_rule=noise_rule,
    )


@dataclass(frozen=True, kw_only=True)
class Branch:
    """Another way from step `at` on (0 to the number of network evaluations). None or () keeps the original's."""

    at: int
    labels: tuple[int, ...] = ()
    sampler: str | None = None
    guidance: Guidance | None = None


@dataclass(frozen=True, kw_only=True)
class Start:
    """Begin at step `at` with real pictures noised to that level: image to image (arXiv 2108.01073).

    latents: (N, c, h, w), clean and normalised, on the CPU or the model's device.
    """

    at: int
    latents: torch.Tensor


def batches_of(request: SampleRequest) -> Iterator[SampleRequest]:
    """The request cut into parts of batch_size, each keeping its pictures' noise."""
    for start in range(0, len(request.labels), request.batch_size):
        yield slice_of(request, start, start + request.batch_size)


def slice_of(request: SampleRequest, start: int, end: int) -> SampleRequest:
    """Its pictures from `start` to before `end`, each with the noise that it has in the whole."""
    columns = ("labels", "seeds", "places", "to_labels", "label_mix", "to_seeds", "noise_mix")
    parts = {name: getattr(request, name)[start:end] for name in columns}
    return replace(request, **parts, first_index=request.first_index + start)


def check_pictures(request: SampleRequest, class_names: tuple[str, ...]) -> None:
    """Raises UsageError for labels outside the classes, columns of another length, and shares outside 0 to 1."""
    for label in (*request.labels, *request.to_labels):
        if not 0 <= label < len(class_names):
            raise UsageError(
                f"labels: {label} is outside the classes 0 to {len(class_names) - 1} "
                f"({', '.join(class_names[:12])}{'…' if len(class_names) > 12 else ''})"
            )
    count = len(request.labels)
    for name in ("seeds", "places", "to_labels", "label_mix", "to_seeds", "noise_mix"):
        found = len(getattr(request, name))
        if found not in (0, count):
            raise UsageError(f"{name}: {found} values for {count} images", "give one per image, or none")
    if request.places and not request.seeds:
        raise UsageError("places: needs seeds as well", "give the seed of every image")
    for first, second in (("to_labels", "label_mix"), ("to_seeds", "noise_mix")):
        if bool(getattr(request, first)) != bool(getattr(request, second)):
            raise UsageError(f"{first}: needs {second} as well, and the other way round")
    for name in ("label_mix", "noise_mix"):
        for share in getattr(request, name):
            if not 0.0 <= share <= 1.0:
                raise UsageError(f"{name}: must lie between 0 and 1, got {share:g}")
    for seed in (request.seed, *request.seeds, *request.to_seeds):
        if not 0 <= seed < 2**31:
            raise UsageError(f"seed: must lie between 0 and {2**31 - 1:,}, got {seed}")
    check_guidance(request.guidance)


def check_guidance(guidance: Guidance) -> None:
    """Raises UsageError for a scale, rescale or interval that means nothing."""
    if not 0.0 <= guidance.scale <= 50.0:
        raise UsageError(f"guidance_scale: must lie between 0 and 50, got {guidance.scale:g}")
    if not 0.0 <= guidance.rescale <= 1.0:
        raise UsageError(f"guidance_rescale: must lie between 0 and 1, got {guidance.rescale:g}")
    try:
        checked_interval(guidance.interval)
    except ValueError as error:
        raise UsageError(f"guidance_interval: {error}") from None
