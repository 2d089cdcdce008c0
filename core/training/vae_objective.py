"""What the VAE minimises: reconstruction error a pixel plus kl_weight · KL a picture (arXiv 1312.6114, eq. 10).

Off by default: free bits (arXiv 1606.04934), the edges of the reconstruction (after the gradient difference loss of
arXiv 1511.05440, section 3.2), and free overshoot beyond black and white.
"""

from __future__ import annotations

import torch
from torch import nn

from core.config.schema import TrainVaeSettings
from core.diffusers_parts import AutoencoderKL


class VaeObjective(nn.Module):
    """Wraps the VAE so that one forward pass gives the losses (and so that Accelerate can wrap it)."""

    def __init__(self, vae: AutoencoderKL, settings: TrainVaeSettings) -> None:
        super().__init__()
        self.network = vae
        self.kl_weight = settings.kl_weight
        self.free_bits = settings.free_bits
        self.edge_weight = settings.edge_weight
        self.free_overshoot = settings.free_overshoot
        self.distance = nn.MSELoss() if settings.reconstruction_loss == "mse" else nn.L1Loss()

    def forward(self, images: torch.Tensor, noise: torch.Tensor) -> dict[str, torch.Tensor]:
        """images (B, C, H, W) in [-1, 1], noise (B, c, h, w) → scalars `loss`, `reconstruction`, `kl`, and `edge` when
        it counts.

        kl is summed over a picture's latents and averaged over pictures: nats a picture, independent of batch size, and
        the whole of it, also where free bits keep a part out of the loss.
        """
        posterior = self.network.encode(images).latent_dist
        raw_latents = posterior.mean + posterior.std * noise
        reconstructions = self.network.decode(raw_latents).sample.float()
        if self.free_overshoot:
            reconstructions = without_overshoot(reconstructions, images)
        reconstruction = self.distance(reconstructions, images)
        nats = kl_by_site(posterior.mean.float(), posterior.logvar.float())
        kl = nats.sum(dim=(1, 2, 3)).mean()
        counted = beyond_free_bits(nats, self.free_bits) if self.free_bits > 0 else kl
        losses = {"loss": reconstruction + self.kl_weight * counted, "reconstruction": reconstruction, "kl": kl}
        if self.edge_weight > 0:
            losses["edge"] = edge_distance(reconstructions, images, self.distance)
            losses["loss"] = losses["loss"] + self.edge_weight * losses["edge"]
        return losses


def kl_by_site(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, exp(log_variance)) ‖ N(0, 1)) of each latent, nats (N, c, h, w)."""
    return 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance)


def beyond_free_bits(nats: torch.Tensor, free_bits: float) -> torch.Tensor:
    """KL a picture, where each channel of (N, c, h, w) counts at least `free_bits` nats: no pull on one that has less.

    The floor holds a picture, not the mean of a batch as in arXiv 1606.04934: so one micro-batch equals four.
    """
    return nats.sum(dim=(2, 3)).clamp(min=free_bits).sum(dim=1).mean()


def without_overshoot(reconstructions: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """`reconstructions`, but equal to `images` where these are saturated (|x| > .999) and those lie beyond: no error
    and no pull there. A clamp would also stop the gradient at pixels that are not saturated."""
    is_saturated = images.abs() > 0.999
    return torch.where(is_saturated & (reconstructions * images.sign() > 1.0), images, reconstructions)


def edge_distance(reconstructions: torch.Tensor, images: torch.Tensor, distance: nn.Module) -> torch.Tensor:
    """`distance` between the differences of neighbouring pixels of (N, C, H, W), across plus down: a scalar."""
    total: torch.Tensor = sum(  # type: ignore[assignment]
        distance(reconstructions.diff(dim=dim), images.diff(dim=dim)) for dim in (-1, -2)
    )
    return total
