"""The VAE's posterior of the whole training set, encoded once, kept on disk and memory-mapped."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from core import atomic, leftovers, reading
from core.data.array_files import read_npy
from core.data.batches import images_to_model
from core.diffusers_parts import AutoencoderKL
from core.errors import CheckpointError, StorageFull
from core.latent.codec import LatentScaling, split_moments


@dataclass(frozen=True, kw_only=True)
class LatentSet:
    """moments (N, 2c, h, w) float32, memory-mapped, and the scaling computed over them."""

    moments: np.ndarray
    scaling: LatentScaling


def cached_latents(
    vae: AutoencoderKL,
    images: np.ndarray,
    *,
    key: str,
    cache_dir: Path,
    batch_size: int = 256,
    progress: Callable[[str, float], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    ranks: int = 1,
    dtype: torch.dtype = torch.float32,
) -> LatentSet | None:
    """The posterior moments of `images` (N, H, W, C) uint8, from the cache or encoded now.

    key: must name both the pictures and the VAE's weights. ranks: how many processes of a group on CPUs call this
    together and share the work; the first writes the cache. dtype: what convolutions compute in; an entry of another
    than float32 is one of its own. Returns None when `should_stop` said so meanwhile; nothing
    is kept then. A cache entry appears whole or not at all. Raises CheckpointError for a VAE that gives values that are
    no numbers, StorageFull.
    """
    exact = dtype == torch.float32
    folder = cache_dir / "latents" / (key if exact else f"{key}-{str(dtype).removeprefix('torch.')}")
    if ranks > 1 and dist.get_rank() > 0:
        if _first_says():
            _help(vae, images, batch_size=batch_size, ranks=ranks, dtype=dtype)
        _first_says()  # the entry is there
        return _open(folder, len(images))
    found = _open(folder, len(images))
    if ranks > 1:
        _say(found is None)
    if found is None:
        found = _encode_into(folder, vae, images, batch_size, progress, should_stop, ranks, dtype)
    if ranks > 1 and found is not None:  # stopped, this process ends and the others with it
        _say(True)
    return found


def _encode_into(
    folder: Path,
    vae: AutoencoderKL,
    images: np.ndarray,
    batch_size: int,
    progress: Callable[[str, float], None] | None,
    should_stop: Callable[[], bool],
    ranks: int,
    dtype: torch.dtype,
) -> LatentSet | None:
    parts = encoded(vae, images, batch_size=batch_size, progress=progress, ranks=ranks, dtype=dtype)
    with leftovers.built_beside(folder) as temporary:
        path = temporary / "moments.npy"
        with path.open("wb") as file:  # written, not memory-mapped: a full disk raises instead of ending in SIGBUS
            for place, part in enumerate(parts):
                if should_stop():
                    return None
                if place == 0:
                    shape = (len(images), *part.shape[1:])
                    needed = int(np.prod(shape)) * 4
                    if shutil.disk_usage(temporary).free < needed:
                        raise StorageFull(
                            f"{folder.parents[1]}: the latents need {needed / 1e6:,.0f} MB, more than is free",
                            "free some space",
                        )
                    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(np.ascontiguousarray(part, dtype="<f4").tobytes())
            file.flush()
            os.fsync(file.fileno())
        scaling = measure_scaling(read_npy(path, memory_mapped=True))
        facts = {"count": len(images), "shift": scaling.shift, "scale": scaling.scale, "sha256": _hash(path)}
        atomic.write_json(temporary / "latents.json", facts)
        leftovers.publish(temporary, folder, is_whole=lambda found: _open(found, len(images)) is not None)
    return _open(folder, len(images))


def measure_scaling(moments: np.ndarray, *, chunk: int = 4096) -> LatentScaling:
    """shift and scale (c,) that give the sampled latents zero mean and unit variance a channel.

    The variance is that of a posterior sample: variance of the means plus the mean of the variances.
    """
    channels = moments.shape[1] // 2
    total = np.zeros(channels)
    squares = np.zeros(channels)
    count = 0
    for start in range(0, len(moments), chunk):
        mean, std = split_moments(torch.from_numpy(np.array(moments[start : start + chunk])))
        mean, std = mean.double(), std.double()
        total += mean.sum(dim=(0, 2, 3)).numpy()
        squares += (mean**2 + std**2).sum(dim=(0, 2, 3)).numpy()
        count += mean.numel() // channels
    average = total / count
    deviation = np.sqrt(np.maximum(squares / count - average**2, 1e-12))
    return LatentScaling(shift=tuple(average.tolist()), scale=tuple((1.0 / deviation).tolist()))


def encoded(
    vae: AutoencoderKL,
    images: np.ndarray,
    *,
    batch_size: int,
    progress: Callable[[str, float], None] | None = None,
    ranks: int = 1,
    dtype: torch.dtype = torch.float32,
) -> Iterator[np.ndarray]:
    """The posterior moments (B, 2c, h, w) float32 of one batch of `images` (N, H, W, C) uint8 after the other.

    ranks: batch i comes from process i % ranks, of which this is the first; the others run `_help`. Raises
    CheckpointError for values that are no numbers.
    """
    device = next(vae.parameters()).device
    shape: tuple[int, ...] = ()
    for index, start in enumerate(range(0, len(images), batch_size)):
        if index % ranks == 0:
            part = _encode(vae, images[start : start + batch_size], device, dtype)
            shape = part.shape[1:]
        else:
            received = torch.empty(min(batch_size, len(images) - start), *shape)
            dist.recv(received, src=index % ranks)
            part = received.numpy()
        if not np.isfinite(part).all():
            raise CheckpointError(
                "latents: the VAE returns values that are not finite numbers",
                "try another checkpoint, or train it again",
            )
        yield part
        if progress:
            progress("encoding latents", min(1.0, (start + batch_size) / len(images)))


def _help(vae: AutoencoderKL, images: np.ndarray, *, batch_size: int, ranks: int, dtype: torch.dtype) -> None:
    """Encode this rank's batches of `encoded`, and send each to the first."""
    device = next(vae.parameters()).device
    for start in range(dist.get_rank() * batch_size, len(images), ranks * batch_size):
        dist.send(torch.from_numpy(_encode(vae, images[start : start + batch_size], device, dtype)), dst=0)


def _say(flag: bool) -> None:
    """From the first rank to all others, which wait in `_first_says`."""
    dist.broadcast(torch.tensor(int(flag)), src=0)


def _first_says() -> bool:
    heard = torch.tensor(0)
    dist.broadcast(heard, src=0)
    return bool(heard.item())


@torch.no_grad()
def _encode(vae: AutoencoderKL, images: np.ndarray, device: torch.device, dtype: torch.dtype) -> np.ndarray:
    batch = images_to_model(torch.from_numpy(np.array(images)).to(device))
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        return vae.encode(batch).latent_dist.parameters.float().cpu().numpy()


def _hash(path: Path) -> str:
    """sha256 of a file: one altered value of the latents would spoil a training without a word."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(folder: Path, count: int) -> LatentSet | None:
    try:
        facts = reading.read_object(folder / "latents.json")
        moments = read_npy(folder / "moments.npy", memory_mapped=True)
        if facts["count"] != count or len(moments) != count or facts["sha256"] != _hash(folder / "moments.npy"):
            return None
        return LatentSet(
            moments=moments, scaling=LatentScaling(shift=tuple(facts["shift"]), scale=tuple(facts["scale"]))
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
