"""What the VAE minimises: reconstruction error a pixel plus kl_weight · KL a picture (arXiv 1312.6114, eq. 10)."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import nn

from core.config.schema import TrainVaeSettings


class VaeObjective(nn.Module):
    """Wraps the VAE so that one forward pass gives the losses (and so that Accelerate can wrap it)."""

    def __init__(self, vae: AutoencoderKL, settings: TrainVaeSettings) -> None:
        super().__init__()
        self.network = vae
        self.kl_weight = settings.kl_weight
        self.distance = nn.MSELoss() if settings.reconstruction_loss == "mse" else nn.L1Loss()

    def forward(self, images: torch.Tensor, noise: torch.Tensor) -> dict[str, torch.Tensor]:
        """images (B, C, H, W) in [-1, 1], noise (B, c, h, w) → scalars `loss`, `reconstruction`, `kl`.

        kl is summed over a picture's latents and averaged over pictures: nats a picture, independent of batch size.
        """
        posterior = self.network.encode(images).latent_dist
        raw_latents = posterior.mean + posterior.std * noise
        reconstructions = self.network.decode(raw_latents).sample
        reconstruction = self.distance(reconstructions.float(), images)
        kl = _kl_to_standard_normal(posterior.mean.float(), posterior.logvar.float())
        return {"loss": reconstruction + self.kl_weight * kl, "reconstruction": reconstruction, "kl": kl}


def _kl_to_standard_normal(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, exp(log_variance)) ‖ N(0, 1)) summed over (c, h, w), averaged over N."""
    return 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance).sum(dim=(1, 2, 3)).mean()
