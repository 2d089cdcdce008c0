"""Pictures as their source holds them, before they have one size: what every loader hands over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from core.config.schema import DataSettings

BLOCK = 1024  # pictures of one size that are fitted at once


@dataclass(frozen=True, kw_only=True)
class RawSplit:
    """Pictures with labels (N,) int64 in 0..K-1.

    blocks(indices) yields uint8 (n, h, w, C), in the order of the indices; sizes may differ between blocks, and the
    number of channels is `channels` or, for a single picture of a folder, the other of 1 and 3.
    sizes (N, 2): height and width as stored, where blocks may give a picture smaller; None = as the blocks are.
    """

    labels: np.ndarray
    channels: int
    blocks: Callable[[np.ndarray], Iterator[np.ndarray]]
    sizes: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class RawSet:
    """A whole data set; `heldout` is None when the source has no test split of its own."""

    train: RawSplit
    heldout: RawSplit | None
    class_names: tuple[str, ...]


class Loader(Protocol):
    """One kind of source."""

    def files(self, settings: DataSettings, data_dir: Path) -> list[Path]:
        """The files it reads, whether they exist or not. Raises DataUnavailable for a folder that cannot be listed."""
        ...

    def load(self, settings: DataSettings, data_dir: Path) -> RawSet:
        """Read the set from files that exist. Raises DataUnavailable when they cannot be read."""
        ...


def array_split(images: np.ndarray, labels: np.ndarray) -> RawSplit:
    """images uint8 (N, h, w) or (N, h, w, C), labels (N,) integers."""
    pictures = images if images.ndim == 4 else images[..., None]

    def blocks(indices: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, len(indices), BLOCK):
            yield pictures[indices[start : start + BLOCK]]

    return RawSplit(labels=np.asarray(labels, dtype=np.int64), channels=pictures.shape[3], blocks=blocks)
