"""The first answer about a VAE that nobody looked at before: a hundred held-out pictures, without PyTorch."""

from __future__ import annotations

import hashlib

import numpy as np

from core import reading
from core.errors import CheckpointError
from core.latent.inspection.overview import LatentOverview, measured
from core.latent.inspection.plain_vae import BATCH, PlainVae, read_plain_vae
from core.latent.inspection.psnr_ssim import squared_error, ssim_of
from core.latent.inspection.vae_source import WEIGHTS_FILE, LatentSubject

MOST_VALUES = 3_000_000  # parameters: a larger network is quicker with PyTorch, loading included
MOST_SIDE = 64


def first_look(subject: LatentSubject) -> LatentOverview | None:
    """Encode, decode and measure every picture of a small subject; keeps nothing.

    None where that would take longer than PyTorch: large networks, large pictures, networks of another make. Raises
    CheckpointError in one sentence for weights that are damaged, do not fit or give no numbers.
    """
    if max(subject.images.shape[1:3]) > MOST_SIDE:
        return None
    vae = _open(subject)
    if vae is None or vae.num_values > MOST_VALUES:
        return None
    moments, pictures = [], []
    for start in range(0, len(subject.labels), BATCH):
        images = np.asarray(subject.images[start : start + BATCH], dtype=np.float32) / 127.5 - 1.0
        try:
            posterior = vae.encode(images)
            pictures.append(vae.decode(posterior[..., : posterior.shape[3] // 2]))
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{subject.run.id}: the weights do not fit the network: {error}") from None
        moments.append(posterior.transpose(0, 3, 1, 2))
    decoded, found = np.concatenate(pictures), np.ascontiguousarray(np.concatenate(moments))
    if not (np.isfinite(decoded).all() and np.isfinite(found).all()):
        raise CheckpointError(f"{subject.run.id}: its VAE gives values that are no numbers", "try another checkpoint")
    if decoded.shape != subject.images.shape:
        raise CheckpointError(f"{subject.run.id}: its VAE gives pictures of another size: {decoded.shape[1:]}")
    if subject.scaling is not None and len(subject.scaling[0]) != found.shape[1] // 2:
        raise CheckpointError(
            f"{subject.run.id}: codec.json scales {len(subject.scaling[0])} channels, its VAE has {found.shape[1] // 2}"
        )
    back = ((decoded.clip(-1.0, 1.0) + 1.0) * 127.5).round().astype(np.uint8)
    return measured(
        subject,
        moments=found,
        reconstructions=back,
        squared_error=squared_error(subject.images, back),
        ssim=ssim_of(subject.images, back),
    )


def _open(subject: LatentSubject) -> PlainVae | None:
    try:
        config, weights = (reading.read_bytes(subject.vae_dir / name) for name in ("config.json", WEIGHTS_FILE))
        if hashlib.sha256(weights).hexdigest() != subject.vae_hash:
            raise ValueError("its weights were altered or replaced")
        vae = read_plain_vae(config, weights)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{subject.run.id}: its VAE cannot be read: {error}", "try another checkpoint") from None
    if vae is not None and vae.channels != subject.images.shape[3]:
        raise CheckpointError(
            f"{subject.run.id}: its VAE is for {vae.channels}-channel pictures, "
            f"'{subject.set_name}' has {subject.images.shape[3]}"
        )
    return vae
