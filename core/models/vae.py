"""The variational autoencoder: diffusers' AutoencoderKL, sized by `VaeSettings` (arXiv 1312.6114, 2112.10752)."""

from __future__ import annotations

from core.diffusers_parts import AutoencoderKL

from core.config.schema import VaeSettings
from core.models.zero_init import start_branches_at_zero


def build_vae(settings: VaeSettings, *, channels: int, image_size: int) -> AutoencoderKL:
    """A VAE with fresh weights from the global torch generator.

    images (N, channels, image_size, image_size) in [-1, 1] ↔ moments (N, 2c, h, w) and raw latents (N, c, h, w),
    h = w = image_size / downsample_factor. The latents are raw: scaling lives in `latent/codec.py` alone.
    """
    levels = len(settings.block_out_channels)
    vae = AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        latent_channels=settings.latent_channels,
        sample_size=image_size,
        block_out_channels=settings.block_out_channels,
        layers_per_block=settings.layers_per_block,
        norm_num_groups=settings.norm_num_groups,
        mid_block_add_attention=settings.mid_block_add_attention,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        scaling_factor=1.0,
    )
    if settings.zero_init:
        start_branches_at_zero(vae)
    return vae
