"""Classifier-free guidance (arXiv 2207.12598)."""

from __future__ import annotations

from collections.abc import Callable

import torch

Denoiser = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def guided_output(
    denoiser: Denoiser,
    noisy_latents: torch.Tensor,
    timestep: torch.Tensor,
    labels: torch.Tensor,
    *,
    guidance_scale: float,
    unconditional_label: int,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(guided model_output, conditional - unconditional), both (N, c, h, w).

    guided = unconditional + guidance_scale · (conditional - unconditional): 1 is no guidance, costs one network pass,
    and gives None as the difference; any other scale costs two passes, run as one batch.
    """
    if guidance_scale == 1.0:
        return denoiser(noisy_latents, timestep, labels), None
    null = torch.full_like(labels, unconditional_label)
    both = denoiser(torch.cat([noisy_latents, noisy_latents]), timestep, torch.cat([labels, null]))
    conditional, unconditional = both.chunk(2)
    difference = conditional - unconditional
    return unconditional + guidance_scale * difference, difference
