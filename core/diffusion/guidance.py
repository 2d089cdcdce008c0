"""Classifier-free guidance (arXiv 2207.12598), its rescale (arXiv 2305.08891) and its interval (arXiv 2404.07724).

PyTorch is imported inside: a screen reads recipes, which hold a `Guidance`, without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.config.interval import Interval, acts_at

if TYPE_CHECKING:
    import torch

    Denoiser = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """How strongly, and where. scale 1 is none. rescale 0 to 1 pulls the guided output's deviation back to that of the
    conditional one. interval: guidance acts while the noise level is inside, see core.config.interval."""

    scale: float = 1.0
    rescale: float = 0.0
    interval: Interval = (0.0, 1.0)

    def scale_at(self, noise_level: float, *, signal_scale: float, noise_scale: float) -> float:
        """The scale at noise level t / T (0 clean, 1 noise) with these scales: 1 outside the interval."""
        is_inside = acts_at(self.interval, noise_level=noise_level, signal_scale=signal_scale, noise_scale=noise_scale)
        return self.scale if is_inside else 1.0


@dataclass(frozen=True, kw_only=True)
class GuidedOutput:
    """What the network said, all (N, c, h, w): the guided output, the conditional one, and conditional - unconditional
    (None without guidance, where both outputs are the same)."""

    model_output: torch.Tensor
    conditional: torch.Tensor
    difference: torch.Tensor | None


def guided_output(
    denoiser: Denoiser,
    noisy_latents: torch.Tensor,
    timestep: torch.Tensor,
    labels: torch.Tensor,
    *,
    guidance_scale: float,
    unconditional_label: int,
    rescale: float = 0.0,
) -> GuidedOutput:
    """guided = unconditional + guidance_scale · (conditional - unconditional), then rescaled.

    A scale of 1 is no guidance and one network pass; any other costs two passes, run as one batch. labels: (N,) int64,
    or (N, K + 1) float32 as weights of the class embeddings, where K is the null class.
    """
    import torch

    if guidance_scale == 1.0:
        conditional = denoiser(noisy_latents, timestep, labels)
        return GuidedOutput(model_output=conditional, conditional=conditional, difference=None)
    null = torch.zeros_like(labels)
    if labels.is_floating_point():
        null[:, unconditional_label] = 1.0
    else:
        null += unconditional_label
    both = denoiser(torch.cat([noisy_latents, noisy_latents]), timestep, torch.cat([labels, null]))
    conditional, unconditional = both.chunk(2)
    difference = conditional - unconditional
    guided = unconditional + guidance_scale * difference
    return GuidedOutput(
        model_output=rescaled(guided, conditional, rescale), conditional=conditional, difference=difference
    )


def rescaled(guided: torch.Tensor, conditional: torch.Tensor, rescale: float) -> torch.Tensor:
    """guided (N, c, h, w) with its deviation a picture moved to that of `conditional` by the share `rescale`.

    Large guidance makes outputs too large and pictures over-exposed. Source: arXiv 2305.08891, eq. 15 and 16.
    """
    if rescale == 0.0:
        return guided
    over = tuple(range(1, guided.ndim))
    factor = conditional.std(dim=over, keepdim=True) / guided.std(dim=over, keepdim=True).clamp_min(1e-12)
    return guided * (rescale * factor + (1.0 - rescale))
