"""Pictures as their source holds them, before they have one size: what every loader hands over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from core.config.schema import DataSettings
from core.config.site import resolve_path
from core.data.limits import ReadLimits
from core.data.reader.reading_of_set import Reading
from core.errors import ConfigError, DataUnavailable, quoted
from core.typed_paths import inside, is_elsewhere, kind_of

BLOCK, BLOCK_BYTES = 1024, 32_000_000  # pictures of one size that are fitted at once: so many, and at most so large


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
    """A whole dataset; `heldout` is None when the source has no test split of its own.

    reading: what a set of one's own was taken for; None for others.
    """

    train: RawSplit
    heldout: RawSplit | None
    class_names: tuple[str, ...]
    reading: Reading | None = None


class Loader(Protocol):
    """One kind of source."""

    def files(self, settings: DataSettings, data_dir: Path) -> Sequence[Path | str]:
        """The files it reads, whether they exist or not. Raises DataUnavailable for a folder that cannot be listed."""
        ...

    def load(self, settings: DataSettings, data_dir: Path) -> RawSet:
        """Read the set from files that exist. Raises DataUnavailable when they cannot be read."""
        ...


def array_split(images: np.ndarray, labels: np.ndarray) -> RawSplit:
    """images uint8 (N, h, w) or (N, h, w, C), labels (N,) integers."""
    pictures = images if images.ndim == 4 else images[..., None]

    return RawSplit(
        labels=np.asarray(labels, dtype=np.int64),
        channels=pictures.shape[3],
        blocks=lambda indices: blocks_of(pictures, indices),
    )


def blocks_of(pictures: np.ndarray, indices: np.ndarray) -> Iterator[np.ndarray]:
    """Those of (N, h, w, C), in the order of the indices, a block in memory at a time."""
    step = max(1, min(BLOCK, BLOCK_BYTES // max(1, pictures[:1].nbytes)))
    for start in range(0, len(indices), step):
        yield pictures[indices[start : start + step]]


def own_path(settings: DataSettings, *, wants: str | tuple[str, ...], hint: str, limits: ReadLimits) -> Path:
    """data.path, absolute and of a kind that is wanted, where it may lead. Raises ConfigError, DataUnavailable."""
    if not settings.path:
        raise ConfigError(f"data.path: the dataset '{settings.name}' needs a path")
    if is_elsewhere(settings.path):
        name = quoted(Path(settings.path).name)
        raise DataUnavailable(f"data.path: {name} lies where the model was trained", "its images cannot be read here")
    path = inside(resolve_path(settings.path), [Path(root) for root in limits.roots], where="data.path: ")
    kind_of(path, wants=(wants,) if isinstance(wants, str) else wants, where="data.path: ", hint=hint)
    return path
