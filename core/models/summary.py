"""What a configuration amounts to before anything is trained: parameters, shapes, arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from core.config.schema import Settings
from core.models.shapes import only_shapes
from core.models.unet import build_unet
from core.models.vae import build_vae


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """Size of one network. gflop: one training step a picture (forward and backward), 10^9 operations."""

    parameters: int
    gflop: float
    latent_shape: tuple[int, int, int]


def latent_shape(settings: Settings) -> tuple[int, int, int]:
    """(c, h, w) of one latent picture."""
    side = settings.data.image_size // settings.vae.downsample_factor
    return (settings.vae.latent_channels, side, side)


def summarize(settings: Settings, kind: str, *, channels: int = 1, num_classes: int = 10) -> ModelSummary:
    """Parameters and arithmetic of the VAE ('vae') or the U-Net ('unet') these settings describe.

    Builds the network on PyTorch's meta device: shapes and refusals are real, nothing is allocated.
    """
    shape = latent_shape(settings)
    with only_shapes():
        if kind == "vae":
            network = build_vae(settings.vae, channels=channels, image_size=settings.data.image_size)
            inputs: tuple[torch.Tensor, ...] = (torch.empty(1, channels, *[settings.data.image_size] * 2),)
        else:
            network = build_unet(settings.unet, latent_channels=shape[0], latent_size=shape[1], num_classes=num_classes)
            inputs = (torch.empty(1, *shape), torch.empty(1), torch.empty(1, dtype=torch.long))
        with FlopCounterMode(display=False) as counter:
            network(*inputs).sample.sum().backward()
    return ModelSummary(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        gflop=counter.get_total_flops() / 1e9,
        latent_shape=shape,
    )
