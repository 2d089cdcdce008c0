"""The one place that knows how raw VAE latents are scaled: latents = (raw - shift) · scale, a channel each.

Over the training set the latents then have zero mean and unit variance a channel, which is what the noise schedule
assumes (arXiv 2112.10752, section 3.3 and appendix G). Tensors stop here on the way to a screen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from core.diffusers_parts import AutoencoderKL


@dataclass(frozen=True, kw_only=True)
class LatentScaling:
    """shift and scale (c,), float32."""

    shift: tuple[float, ...]
    scale: tuple[float, ...]

    def normalize(self, raw_latents: torch.Tensor) -> torch.Tensor:
        """raw latents (N, c, h, w) → latents of zero mean and unit variance."""
        shift, scale = self._columns(raw_latents)
        return (raw_latents - shift) * scale

    def denormalize(self, latents: torch.Tensor) -> torch.Tensor:
        """latents (N, c, h, w) → raw latents."""
        shift, scale = self._columns(latents)
        return latents / scale + shift

    def _columns(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shift = torch.tensor(self.shift, device=like.device, dtype=torch.float32)
        scale = torch.tensor(self.scale, device=like.device, dtype=torch.float32)
        return shift.view(1, -1, 1, 1), scale.view(1, -1, 1, 1)


@dataclass(frozen=True, kw_only=True)
class LatentCodec:
    """Pictures ↔ normalised latents, through a trained VAE in evaluation mode."""

    vae: AutoencoderKL
    scaling: LatentScaling

    @torch.no_grad()
    def encode(self, images: torch.Tensor, *, batch_size: int = 64) -> torch.Tensor:
        """images (N, C, H, W) in [-1, 1] → latents (N, c, h, w): the posterior mean, normalised; in batches."""
        parts = [self.vae.encode(part).latent_dist.mean for part in images.split(batch_size)]
        return self.scaling.normalize(torch.cat(parts))

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, *, batch_size: int = 256) -> torch.Tensor:
        """latents (N, c, h, w) → images (N, C, H, W), about [-1, 1], not clamped; in batches."""
        parts = [self.vae.decode(self.scaling.denormalize(part)).sample for part in latents.split(batch_size)]
        return torch.cat(parts)

    def decode_to_uint8(self, latents: torch.Tensor) -> np.ndarray:
        """latents (N, c, h, w) → pictures (N, H, W, C) uint8."""
        return to_uint8(self.decode(latents))


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """images (N, C, H, W) in [-1, 1] → (N, H, W, C) uint8, clamped and rounded; never stretched."""
    pixels = ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).cpu().numpy()


def split_moments(moments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """moments (N, 2c, h, w) → posterior mean and standard deviation (N, c, h, w); log-variance is clamped as in
    diffusers' DiagonalGaussianDistribution."""
    mean, log_variance = moments.float().chunk(2, dim=1)
    return mean, torch.exp(0.5 * log_variance.clamp(-30.0, 20.0))
