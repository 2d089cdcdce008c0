"""A held-out image of each class, to show what happens to images. Light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.data.arrays import ImageSet

MOST = 10


@dataclass(frozen=True, kw_only=True)
class ClassImages:
    """images (N, H, W, C) uint8, one of each class, with the classes' names; title: of their dataset."""

    title: str
    images: np.ndarray
    names: tuple[str, ...]


def one_per_class(image_set: ImageSet) -> ClassImages:
    """The first held-out image of each of the first ten classes."""
    labels = np.asarray(image_set.heldout.labels)
    chosen = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)[:MOST]]
    return ClassImages(
        title=image_set.title,
        images=np.stack([np.asarray(image_set.heldout.images[index]) for index in chosen]),
        names=tuple(image_set.class_names[int(labels[index])] for index in chosen),
    )
