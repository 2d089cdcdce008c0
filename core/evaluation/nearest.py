"""The training picture nearest to a drawn one, in pixels: has the model memorised it?

A distance says little alone, so it stands beside those of real pictures that no model ever learned from.
Source: arXiv 2301.13188 (memorised pictures, by distance in pixels), 2004.05675 (held-out pictures as the measure).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from core.data.arrays import ImageSet, Split
from core.errors import UsageError
from core.evaluation.metrics import nearest

MOST_BYTES = 512 * 2**20  # of training pictures in a search; of a larger split every 2nd, 3rd, … picture
BLOCK_BYTES = 4 * 2**20  # of training pictures at a time
EACH = 50  # held-out pictures a class that a distance is compared with


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The nearest of a split for each of M pictures. indices (M,) int64; distances (M,) float64: root mean square
    difference, in grey levels of 255; every: one in so many pictures of the split was looked at."""

    indices: np.ndarray
    distances: np.ndarray
    every: int


def nearest_pictures(
    pictures: np.ndarray, split: Split, *, should_stop: Callable[[], bool] = lambda: False
) -> Neighbours:
    """pictures (M, H, W, C) uint8 → their nearest in `split`; memory stays within a few blocks of 4 MiB.

    Raises UsageError for pictures of another shape, or when should_stop said so between two blocks.
    """
    if pictures.shape[1:] != split.images.shape[1:] or not len(split.images):
        raise UsageError(
            f"nearest images: {' × '.join(map(str, pictures.shape[1:]))} given, the {len(split.images):,} training "
            f"images are {' × '.join(map(str, split.images.shape[1:]))}"
        )
    size = int(np.prod(split.images.shape[1:]))
    every = -(-len(split.images) * size // MOST_BYTES)
    chosen = split.images[::every]
    rows = max(1, BLOCK_BYTES // size)

    def blocks() -> Iterable[torch.Tensor]:
        for start in range(0, len(chosen), rows):
            if should_stop():
                raise UsageError("nearest images: cancelled")
            yield torch.from_numpy(np.array(chosen[start : start + rows])).flatten(1).float()

    _, found = nearest(torch.from_numpy(np.array(pictures)).flatten(1).float(), blocks())
    indices = found.numpy() * every
    difference = split.images[indices].astype(np.float64) - pictures
    return Neighbours(indices=indices, distances=np.sqrt(np.square(difference).mean(axis=(1, 2, 3))), every=every)


def heldout_distances(
    image_set: ImageSet, label: int, *, should_stop: Callable[[], bool] = lambda: False
) -> np.ndarray:
    """Distances of at most 50 held-out pictures of a class to their nearest training pictures, sorted; may be empty."""
    places = np.flatnonzero(image_set.heldout.labels == label)[:EACH]
    if not len(places):
        return np.empty(0)
    return np.sort(
        nearest_pictures(image_set.heldout.images[places], image_set.train, should_stop=should_stop).distances
    )
