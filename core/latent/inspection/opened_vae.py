"""A VAE opened for looking inside: its weights, held-out pictures, and their posterior, encoded once and kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from core import leftovers
from core.device import resolve_device
from core.diffusers_parts import AutoencoderKL
from core.errors import CheckpointError
from core.latent.cache import cached_latents, encoded, measure_scaling
from core.latent.codec import LatentCodec, LatentScaling, split_moments
from core.latent.inspection.vae_source import WEIGHTS_FILE, LatentSubject, Weights
from core.latent.stored_vae import build_from_files, load_codec
from core.runs.checkpoints import load_newest

MOST_KEPT_BYTES = 10**9
KEPT = ("latents", "studies", "projections")


@dataclass(frozen=True, kw_only=True)
class LatentStudy:
    """A VAE on a device, held-out pictures, and their posterior.

    codec: the VAE and its scaling. A VAE run has no scaling of its own until a U-Net run measures one over its training
    set; here it is measured over the held-out posterior. images (N, H, W, C) uint8,
    labels (N,); moments (N, 2c, h, w) float32, memory-mapped where they are kept: posterior mean and log-variance, raw.
    """

    run_id: str
    step: int
    weights: Weights
    title: str
    codec: LatentCodec
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    fingerprint: str
    vae_hash: str
    key: str
    moments: np.ndarray
    device: torch.device

    @cached_property
    def _split(self) -> tuple[np.ndarray, np.ndarray]:
        mean, std = split_moments(torch.from_numpy(np.array(self.moments)))
        return mean.numpy(), std.numpy()

    @property
    def mean(self) -> np.ndarray:
        """Posterior mean (N, c, h, w) float32, raw."""
        return self._split[0]

    @property
    def std(self) -> np.ndarray:
        """Posterior standard deviation (N, c, h, w) float32, raw."""
        return self._split[1]

    @cached_property
    def latents(self) -> np.ndarray:
        """(N, c, h, w) float32: the posterior mean, normalised as a U-Net would see it."""
        return self.codec.scaling.normalize(torch.from_numpy(self.mean)).numpy()

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Normalised latents (N, c, h, w) → pictures (N, H, W, C) uint8."""
        batch_size = batch_for(self.device)
        parts = [
            self.codec.decode_to_uint8(torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)).to(self.device))
            for part in np.array_split(latents, max(1, -(-len(latents) // batch_size)))
        ]
        return np.concatenate(parts)


def open_subject(
    subject: LatentSubject,
    *,
    device: str = "auto",
    cache_dir: Path | None,
    progress: Callable[[str, float], None] | None = None,
) -> LatentStudy:
    """The VAE that `find_subject` found, with its held-out pictures.

    Their posterior is encoded now or comes from the cache, where what was not used for longest is removed beyond
    1 GB; without a cache nothing is kept. progress(stage, fraction). Raises UsageError, CheckpointError or
    DataUnavailable in one sentence.
    """
    target = resolve_device(device)
    if subject.run.kind.vae == "copy":
        codec = load_codec(subject.run.vae_dir, target)
        vae, scaling = codec.vae, codec.scaling
    else:
        vae, scaling = _load_vae(subject).to(target).eval().requires_grad_(False), None
    if vae.config.in_channels != subject.images.shape[3]:
        raise CheckpointError(
            f"{subject.run.id}: its VAE is for {vae.config.in_channels}-channel images, "
            f"'{subject.set_name}' has {subject.images.shape[3]}"
        )
    moments = _moments(vae, subject, cache_dir, batch_for(target), progress)
    if scaling is not None and len(scaling.shift) != moments.shape[1] // 2:
        raise CheckpointError(
            f"{subject.run.id}: codec.json scales {len(scaling.shift)} channels, its VAE has {moments.shape[1] // 2}"
        )
    return LatentStudy(
        run_id=subject.run.id,
        step=subject.step,
        weights=subject.weights,
        title=subject.title,
        codec=LatentCodec(vae=vae, scaling=scaling or measured(moments)),
        images=subject.images,
        labels=subject.labels,
        class_names=subject.class_names,
        fingerprint=subject.fingerprint,
        vae_hash=subject.vae_hash,
        key=subject.key,
        moments=moments,
        device=target,
    )


def _moments(
    vae: AutoencoderKL,
    subject: LatentSubject,
    cache_dir: Path | None,
    batch_size: int,
    progress: Callable[[str, float], None] | None,
) -> np.ndarray:
    if cache_dir is None:
        return np.concatenate(list(encoded(vae, subject.images, batch_size=batch_size, progress=progress)))
    found = cached_latents(
        vae, subject.images, key=subject.key, cache_dir=cache_dir, batch_size=batch_size, progress=progress
    )
    assert found is not None  # nothing asks it to stop
    os.utime(cache_dir / "latents" / subject.key)  # used now: what was not used for longest is forgotten first
    forget_oldest(cache_dir, keep=subject.key)
    return found.moments


def batch_for(device: torch.device) -> int:
    """Pictures at once: on a CPU more only cost memory."""
    return 64 if device.type == "cpu" else 512


def measured(moments: np.ndarray) -> LatentScaling:
    """The scaling over held-out pictures, in the way that a U-Net run takes it over its training set."""
    return measure_scaling(moments)


def forget_oldest(cache_dir: Path, *, keep: str, most_bytes: int = MOST_KEPT_BYTES) -> None:
    """Remove held-out entries beyond `most_bytes`, least recently used first; never `keep`, never a training set's."""
    entries = [path for name in KEPT for path in (cache_dir / name).glob("*-heldout-*") if path.is_dir()]
    facts = []
    for path in entries:
        try:
            files = [file.stat() for file in path.iterdir()]
            facts.append((path.stat().st_mtime, sum(file.st_size for file in files), path))
        except OSError:  # another process was quicker
            continue
    total = sum(size for _, size, _ in facts)
    for _, size, path in sorted(facts):
        if total <= most_bytes:
            return
        if path.name != keep:
            with contextlib.suppress(OSError):  # another process was quicker
                leftovers.remove_folder(path)
            total -= size


def _load_vae(subject: LatentSubject) -> AutoencoderKL:
    checkpoint = load_newest(subject.run.checkpoints_dir, step=subject.step)
    assert checkpoint is not None  # find_subject saw it
    name = "vae_ema" if subject.weights == "ema" else "vae"
    if hashlib.sha256(checkpoint.files.get(f"{name}/{WEIGHTS_FILE}", b"")).hexdigest() != subject.vae_hash:
        raise CheckpointError(f"{subject.run.id}: the checkpoint of step {subject.step:,} was replaced just now")
    vae: AutoencoderKL = build_from_files(AutoencoderKL, checkpoint.files, name)
    return vae
