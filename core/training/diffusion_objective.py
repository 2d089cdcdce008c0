"""What the U-Net minimises: the weighted squared error of its prediction (arXiv 2006.11239, eq. 14)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from core.diffusers_parts import UNet2DModel
from core.diffusion.schedule import NoiseSchedule
from core.seeding import Randomness


class DiffusionObjective(nn.Module):
    """Wraps the U-Net so that one forward pass gives the loss (and so that Accelerate can wrap it)."""

    def __init__(self, unet: UNet2DModel) -> None:
        super().__init__()
        self.network = unet

    def forward(
        self,
        noisy_latents: torch.Tensor,
        timesteps: torch.Tensor,
        labels: torch.Tensor,
        target: torch.Tensor,
        weight: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """noisy_latents, target (B, c, h, w), timesteps, labels, weight (B,) → scalar `loss`."""
        model_output = self.network(noisy_latents, timesteps, class_labels=labels).sample
        error = (model_output.float() - target) ** 2
        return {"loss": (weight * error.mean(dim=(1, 2, 3))).mean()}


@dataclass(frozen=True, kw_only=True)
class DiffusionDraw:
    """Turns clean latents into training inputs; everything random derives from (seed, purpose, step): see `random`."""

    schedule: NoiseSchedule
    unconditional_label: int
    cond_drop_prob: float
    random: Randomness
    distribution: str = "uniform"
    mean: float = 0.0
    is_stratified: bool = False

    def inputs(
        self, latents: torch.Tensor, labels: torch.Tensor, step: int, *, purpose: str = "diffusion"
    ) -> dict[str, torch.Tensor]:
        """latents (B, c, h, w), labels (B,) → the keyword arguments of `DiffusionObjective.forward`."""
        device, count = latents.device, len(latents)
        source = self.random.generator(purpose, step, device=device)
        t = self._timesteps(count, source)
        noise = torch.randn(latents.shape, generator=source, device=device)
        dropped = torch.rand(count, generator=source, device=device) < self.cond_drop_prob
        return {
            "noisy_latents": self.schedule.add_noise(latents, noise, t),
            "timesteps": self.schedule.timesteps[t],
            "labels": torch.where(dropped, self.unconditional_label, labels),
            "target": self.schedule.target(latents, noise, t),
            "weight": self.schedule.loss_weight(t),
        }

    def _timesteps(self, count: int, source: torch.Generator) -> torch.Tensor:
        """Timestep indices (count,) in [0, T): of uniform or logit-normal places between clean and pure noise.

        Stratified, each of `count` equal parts of the distribution gives one, in random order.
        """
        total, device = self.schedule.num_train_timesteps, source.device
        if self.distribution == "uniform" and not self.is_stratified:
            return torch.randint(0, total, (count,), generator=source, device=device)
        place = torch.rand(count, generator=source, device=device)
        if self.is_stratified:
            place = (torch.randperm(count, generator=source, device=device) + place) / count
        if self.distribution == "logit_normal":
            place = torch.sigmoid(self.mean + torch.special.ndtri(place.clamp(1e-4, 1.0 - 1e-4)))
        return (place * total).long().clamp(max=total - 1)
