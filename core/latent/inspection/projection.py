"""Latents on a plane or in space: principal components, and t-SNE, which is kept on disk because it takes seconds."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import atomic
from core.bound_child import bound_child
from core.data.array_files import read_npy
from core.errors import LabError, UsageError
from core.home import python_path

logger = logging.getLogger(__name__)

MAX_POINTS = 2000
SEED = 0
PERPLEXITY = 30.0
ITERATIONS = 500
PRE_COMPONENTS = 30  # t-SNE sees the first principal components, as its paper does (there 30)
FORMAT_VERSION = 1
LEAST_POINTS = 5
MOST_S = 180.0  # of a t-SNE, wall-clock: 2,000 points in space took 24 s on two busy cores
LOOK_S = 0.1
CHILD = "core.latent.inspection.projection_child"


@dataclass(frozen=True, kw_only=True)
class Components:
    """Principal components of N points of D numbers.

    mean (D,); directions (k, D), orthonormal, the widest first; spreads (k,): standard deviation along each;
    shares (k,): of the whole variance, 0 to 1; coordinates (N, k).
    """

    mean: np.ndarray
    directions: np.ndarray
    spreads: np.ndarray
    shares: np.ndarray
    coordinates: np.ndarray


@dataclass(frozen=True, kw_only=True)
class LatentMap:
    """N held-out pictures on the map: images (N, H, W, C) uint8, labels (N,), latents (N, c, h, w) as a U-Net sees them
    (posterior means), and their principal components. key names VAE and pictures; spread: deviation of the latents,
    of which the rest up to 1 is posterior noise."""

    key: str
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    latents: np.ndarray
    components: Components
    spread: float


def principal_components(latents: np.ndarray, count: int) -> Components:
    """PCA of latents (N, c, h, w), by singular values. The sign of a direction is that its largest entry is positive.

    Source: Pearson 1901, doi 10.1080/14786440109462720; the variance is over N - 1.
    """
    points = latents.reshape(len(latents), -1).astype(np.float64)
    if len(points) < 2:
        raise UsageError(f"the map needs at least 2 images, got {len(points)}")
    mean = points.mean(axis=0)
    left, singular, directions = np.linalg.svd(points - mean, full_matrices=False)
    count = min(count, len(singular))
    signs = np.sign(directions[np.arange(count), np.abs(directions[:count]).argmax(axis=1)])
    signs[signs == 0] = 1.0
    total = float((singular**2).sum())
    return Components(
        mean=mean.astype(np.float32),
        directions=(directions[:count] * signs[:, None]).astype(np.float32),
        spreads=(singular[:count] / np.sqrt(len(points) - 1)).astype(np.float32),
        shares=singular[:count] ** 2 / total if total > 0 else np.zeros(count),
        coordinates=(left[:, :count] * singular[:count] * signs).astype(np.float32),
    )


def embed(
    latents: np.ndarray,
    dimensions: int,
    *,
    perplexity: float = PERPLEXITY,
    progress: Callable[[str, float], None] | None = None,
    most_s: float = MOST_S,
) -> np.ndarray:
    """t-SNE of latents (N, c, h, w) → (N, 2 or 3) float32, seed 0, started from the principal components.

    Perplexity is at most a third of N. Distances between far groups and sizes of groups mean nothing in it.
    It runs in a process of its own, which ends when progress(stage, fraction) raises, and after `most_s` seconds.
    Raises UsageError for fewer than 5 or more than 2,000 points, LabError when it took too long or died. Source: van
    der Maaten and Hinton 2008, jmlr.org/papers/v9/vandermaaten08a.html.
    """
    if not LEAST_POINTS <= len(latents) <= MAX_POINTS:
        raise UsageError(f"t-SNE: {LEAST_POINTS} to {MAX_POINTS:,} images, got {len(latents):,}")
    components = principal_components(latents, PRE_COMPONENTS).coordinates
    scale = float(components.std())
    if scale < 1e-9:  # all pictures are one point: nothing to arrange
        return np.zeros((len(latents), dimensions), dtype=np.float32)
    numbers = (dimensions, min(perplexity, (len(latents) - 1) / 3), SEED, ITERATIONS)
    with tempfile.TemporaryDirectory(prefix="t-sne-") as name:
        points, found, told = (Path(name) / file for file in ("points.npy", "found.npy", "told.txt"))
        np.save(points, components, allow_pickle=False)
        arguments = [str(points), str(found), *map(str, numbers)]
        _arrange(arguments, told, progress or (lambda stage, fraction: None), most_s, len(latents))
        try:
            return np.asarray(read_npy(found), dtype=np.float32)
        except (OSError, ValueError, EOFError):
            raise LabError("t-SNE: its process ended without a result", "take fewer images") from None


def _arrange(
    arguments: list[str], told: Path, progress: Callable[[str, float], None], most_s: float, count: int
) -> None:
    """Run the child to its end; it never outlives this call."""
    words = f"arranging {count:,} images by t-SNE"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1"}
    started = time.monotonic()
    with (
        told.open("wb") as out,
        bound_child(
            [sys.executable, "-m", CHILD, *arguments],
            cwd=told.parent,
            env=environment,
            stdout=out,
            stderr=subprocess.DEVNULL,
        ) as child,
    ):
        while child.poll() is None:
            if time.monotonic() - started > most_s:
                raise LabError(f"t-SNE: {count:,} images took longer than {most_s:g} s", "take fewer images")
            progress(words, _share_done(told))
            time.sleep(LOOK_S)
    if child.returncode:
        ended = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
        raise LabError(f"t-SNE: the process that computes it died ({ended})", "take fewer images")


def _share_done(told: Path) -> float:
    """What scikit-learn's last line says of its iterations, 0 to 1."""
    done = re.findall(rb"Iteration (\d+):", told.read_bytes())
    return min(1.0, int(done[-1]) / ITERATIONS) if done else 0.0


def kept_embedding(
    latents: np.ndarray,
    dimensions: int,
    *,
    key: str,
    cache_dir: Path,
    perplexity: float = PERPLEXITY,
    compute: Callable[..., np.ndarray] | None = None,
) -> np.ndarray:
    """`embed`, from `cache_dir`/projections/`key` or computed now and kept there.

    key: must name the VAE's weights and the pictures, and begin with the dataset's name, as every entry of the cache.
    A cache that cannot be written costs the keeping only.
    """
    path = _path(key, dimensions, perplexity, len(latents), cache_dir)
    found = _read(path, (len(latents), dimensions))
    if found is not None:
        return found
    points = (compute or embed)(latents, dimensions, perplexity=perplexity)
    try:
        atomic.make_folder(path.parent)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            atomic.follow(file.fileno(), path.parent)
            np.save(file, points, allow_pickle=False)
        os.replace(temporary, path)
        atomic.fsync_dir(path.parent)
    except OSError as error:
        logger.warning("%s: the projection could not be kept (%s)", path.parent, error.strerror or error)
    return points


def is_kept(count: int, dimensions: int, *, key: str, cache_dir: Path, perplexity: float = PERPLEXITY) -> bool:
    """True when `kept_embedding` of `count` points would answer at once."""
    return _read(_path(key, dimensions, perplexity, count, cache_dir), (count, dimensions)) is not None


def _path(key: str, dimensions: int, perplexity: float, count: int, cache_dir: Path) -> Path:
    decides = [FORMAT_VERSION, key, dimensions, perplexity, count, SEED, ITERATIONS, PRE_COMPONENTS]
    name = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:24]
    return cache_dir / "projections" / key / f"tsne-{name}.npy"


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    try:
        points = read_npy(path)
    except (OSError, ValueError, EOFError):
        return None
    return points if points.shape == shape and np.isfinite(points).all() else None
