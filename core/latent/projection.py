"""Latents on a plane or in space: principal components, and t-SNE, which is kept on disk because it takes seconds."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import atomic
from core.errors import UsageError

logger = logging.getLogger(__name__)

MAX_POINTS = 2000
SEED = 0
PERPLEXITY = 30.0
ITERATIONS = 500
PRE_COMPONENTS = 30  # t-SNE sees the first principal components, as its paper does (there 30)
FORMAT_VERSION = 1
LEAST_POINTS = 5


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


def principal_components(latents: np.ndarray, count: int) -> Components:
    """PCA of latents (N, c, h, w), by singular values. The sign of a direction is that its largest entry is positive.

    Source: Pearson 1901, doi 10.1080/14786440109462720; the variance is over N - 1.
    """
    points = latents.reshape(len(latents), -1).astype(np.float64)
    if len(points) < 2:
        raise UsageError(f"the map needs at least 2 pictures, got {len(points)}")
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


def embed(latents: np.ndarray, dimensions: int, *, perplexity: float = PERPLEXITY) -> np.ndarray:
    """t-SNE of latents (N, c, h, w) → (N, 2 or 3) float32, seed 0, started from the principal components.

    Perplexity is at most a third of N. Distances between far groups and sizes of groups mean nothing in it.
    Raises UsageError for fewer than 5 or more than 2,000 points. Source: van der Maaten and Hinton 2008,
    jmlr.org/papers/v9/vandermaaten08a.html.
    """
    if not LEAST_POINTS <= len(latents) <= MAX_POINTS:
        raise UsageError(f"t-SNE: {LEAST_POINTS} to {MAX_POINTS:,} pictures, got {len(latents):,}")
    from sklearn.manifold import TSNE

    components = principal_components(latents, PRE_COMPONENTS).coordinates
    scale = float(components.std())
    if scale < 1e-9:  # all pictures are one point: nothing to arrange
        return np.zeros((len(latents), dimensions), dtype=np.float32)
    method = TSNE(
        n_components=dimensions,
        perplexity=min(perplexity, (len(latents) - 1) / 3),
        init="pca",
        random_state=SEED,
        max_iter=ITERATIONS,
        n_jobs=1,
    )
    return np.asarray(method.fit_transform(components), dtype=np.float32)


def kept_embedding(
    latents: np.ndarray,
    dimensions: int,
    *,
    key: str,
    cache_dir: Path,
    perplexity: float = PERPLEXITY,
    compute: Callable[..., np.ndarray] = embed,
) -> np.ndarray:
    """`embed`, from `cache_dir`/projections or computed now and kept there.

    key: must name the VAE's weights and the pictures. A cache that cannot be written costs the keeping only.
    """
    path = _path(key, dimensions, perplexity, len(latents), cache_dir)
    found = _read(path, (len(latents), dimensions))
    if found is not None:
        return found
    points = compute(latents, dimensions, perplexity=perplexity)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with temporary.open("wb") as file:
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
    return cache_dir / "projections" / f"tsne-{name}.npy"


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    try:
        points = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return points if points.shape == shape and np.isfinite(points).all() else None
