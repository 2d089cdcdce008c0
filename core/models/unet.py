"""The class-conditional denoiser: diffusers' UNet2DModel, sized by `UnetSettings` (arXiv 2006.11239, 2105.05233)."""

from __future__ import annotations

import torch
from core.diffusers_parts import UNet2DModel

from core.config.schema import UnetSettings
from core.models.zero_init import start_branches_at_zero


def build_unet(settings: UnetSettings, *, latent_channels: int, latent_size: int, num_classes: int) -> UNet2DModel:
    """A U-Net with fresh weights from the global torch generator.

    (noisy_latents (N, c, h, w), timestep (N,), class_labels (N,)) → model_output (N, c, h, w). Labels 0 to K-1 are the
    classes, K (`unconditional_label`) is the null class of classifier-free guidance.
    """
    levels = range(len(settings.block_out_channels))
    attends = [level in settings.attention_levels for level in levels]
    unet = UNet2DModel(
        sample_size=latent_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        layers_per_block=settings.layers_per_block,
        block_out_channels=settings.block_out_channels,
        norm_num_groups=settings.norm_num_groups,
        dropout=settings.dropout,
        down_block_types=tuple("AttnDownBlock2D" if attends[level] else "DownBlock2D" for level in levels),
        up_block_types=tuple("AttnUpBlock2D" if attends[level] else "UpBlock2D" for level in reversed(levels)),
        add_attention=any(attends),
        num_class_embeds=num_classes + 1,
    )
    if settings.zero_init:
        start_branches_at_zero(unet)
        torch.nn.init.zeros_(unet.conv_out.weight)
    return unet
