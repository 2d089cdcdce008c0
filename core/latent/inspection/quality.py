"""How well a VAE gives held-out pictures back: every reconstruction with its error, PSNR and SSIM."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from core.errors import CheckpointError
from core.latent.codec import to_uint8
from core.latent.inspection.opened_vae import LatentStudy, batch_for, forget_oldest
from core.latent.inspection.overview import LatentOverview, measured, read_overview, write_overview
from core.latent.inspection.psnr_ssim import squared_error, ssim_of
from core.latent.inspection.vae_source import LatentSubject


def look_at(
    subject: LatentSubject, study: LatentStudy, *, progress: Callable[[str, float], None] | None = None
) -> LatentOverview:
    """Decode every posterior mean and measure it; keeps nothing. progress(stage, fraction).

    Raises CheckpointError when the VAE gives something that is no number.
    """
    count, batch_size = len(subject.labels), batch_for(study.device)
    reconstructions = np.empty_like(subject.images)
    error, ssim = np.empty(count, dtype=np.float64), np.empty(count, dtype=np.float64)
    for start in range(0, count, batch_size):
        part = slice(start, min(count, start + batch_size))
        decoded = reconstruct(study, study.mean[part])
        reconstructions[part] = decoded
        error[part] = squared_error(subject.images[part], decoded)
        ssim[part] = ssim_of(subject.images[part], decoded)
        if progress:
            progress("decoding and measuring", part.stop / count)
    return measured(
        subject,
        moments=np.asarray(study.moments),
        reconstructions=reconstructions,
        squared_error=error,
        ssim=ssim,
    )


def make_overview(
    subject: LatentSubject,
    study: LatentStudy,
    cache_dir: Path,
    *,
    progress: Callable[[str, float], None] | None = None,
) -> LatentOverview:
    """`look_at` it, and keep all in the cache. Raises CheckpointError and StorageFull."""
    write_overview(look_at(subject, study, progress=progress), cache_dir)
    forget_oldest(cache_dir, keep=subject.key)
    kept = read_overview(subject, cache_dir)
    if kept is None:
        raise CheckpointError(f"{cache_dir}: what was just written there cannot be read", "look at its disk")
    return kept


@torch.no_grad()
def reconstruct(study: LatentStudy, mean: np.ndarray) -> np.ndarray:
    """Raw posterior means (N, c, h, w) → pictures (N, H, W, C) uint8. Raises CheckpointError for NaN."""
    images = study.codec.vae.decode(torch.from_numpy(np.ascontiguousarray(mean)).to(study.device)).sample
    if not bool(torch.isfinite(images).all()):
        raise CheckpointError(
            f"{study.run_id}: its decoder returns values that are not finite numbers", "try another checkpoint"
        )
    return to_uint8(images)
