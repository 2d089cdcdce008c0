"""Imported sets: where they are kept, what is known about them, and how they are read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import reading
from core.config.load import read_site
from core.config.schema import DataSettings
from core.data.npz_file import checked_header
from core.data.raw import RawSet, RawSplit, blocks_of
from core.data.reader.reading_of_set import MOST_KINDS, Reading, reading_from
from core.errors import DataUnavailable, LabError, quoted

FORMAT = 1
FACTS = "set.json"
NAME = re.compile(r"^[a-z][a-z0-9_-]{0,39}$")
PARTS = ("train", "heldout")
MOST_SIDE = 1_000_000  # pixels: far more than an import keeps, and no product of three overflows


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What is written down about an imported set. counts: pictures a split; heldout 0 = no test split of its own.

    left_out_kinds: how many files of each kind were no part of it; empty for imports of earlier versions, which have
    no `reading` either.
    """

    name: str
    title: str
    licence: str
    source: str
    imported_by: str
    imported_at: str
    class_names: tuple[str, ...]
    channels: int
    train_count: int
    heldout_count: int
    left_out: int
    left_out_kinds: tuple[tuple[str, int], ...]
    folder: Path
    reading: Reading | None = None


def imports_dir() -> Path:
    """Where imported sets are kept, for everyone on this server."""
    return read_site()[0].imports


def imported_names(folder: Path | None = None) -> list[str]:
    """Names of the sets in the imports folder, in order; broken ones too."""
    try:
        found = sorted(path.name for path in (folder or imports_dir()).iterdir())
    except OSError:
        return []
    return [name for name in found if NAME.fullmatch(name)]


def read_imported(name: str, folder: Path | None = None) -> Imported:
    """Raises DataUnavailable when what lies there is no imported set."""
    place = (folder or imports_dir()) / name
    try:
        facts = reading.read_object(place / FACTS)
        if facts["format"] != FORMAT:
            raise ValueError("another format")
        return Imported(
            name=name,
            title=str(facts["title"]),
            licence=str(facts["licence"]),
            source=str(facts["source"]),
            imported_by=str(facts["imported_by"]),
            imported_at=str(facts["imported_at"]),
            class_names=tuple(str(text) for text in facts["class_names"]),
            channels=int(facts["channels"]),
            train_count=int(facts["parts"]["train"]["count"]),
            heldout_count=int(facts["parts"].get("heldout", {"count": 0})["count"]),
            left_out=int(facts["left_out"]),
            left_out_kinds=_kinds(facts.get("left_out_kinds", {})),
            folder=place,
            reading=reading_from(facts["reading"]) if "reading" in facts else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataUnavailable(
            f"data.name: the imported set '{name}' in {place} is damaged ({type(error).__name__}: {error})",
            "import it again under another name",
        ) from None


def _kinds(found: Mapping[str, object]) -> tuple[tuple[str, int], ...]:
    """Kind → number, as written down. An import of an earlier version has none; raises as `read_imported` expects."""
    return tuple((str(kind), int(str(number))) for kind, number in list(found.items())[:MOST_KINDS])


@dataclass(frozen=True, kw_only=True)
class ImportedLoader:
    """A set in the imports folder."""

    folder: Path

    def files(self, settings: DataSettings, data_dir: Path) -> list[Path]:
        """Its description and its pixels."""
        parts = [part for part in PARTS if (self.folder / f"{part}_pixels.bin").exists()] or ["train"]
        return [self.folder / FACTS, *(self.folder / f"{part}_pixels.bin" for part in parts)]

    def load(self, settings: DataSettings, data_dir: Path) -> RawSet:
        """Memory-mapped. Raises DataUnavailable."""
        found = read_imported(self.folder.name, self.folder.parent)
        try:
            train = self._split("train", found.channels, found.train_count)
            heldout = self._split("heldout", found.channels, found.heldout_count) if found.heldout_count else None
        except (OSError, ValueError, DataUnavailable) as error:
            words = error.message if isinstance(error, LabError) else quoted(error, 200)
            raise DataUnavailable(
                f"data.name: the imported set '{found.name}' in {self.folder} is damaged ({words})",
                "import it again under another name",
            ) from None
        return RawSet(train=train, heldout=heldout, class_names=found.class_names)

    def _split(self, part: str, channels: int, count: int) -> RawSplit:
        shapes = self._numbers(f"{part}_shapes.npy", (count, 3))
        sizes = self._numbers(f"{part}_sizes.npy", (count, 2))
        labels = self._numbers(f"{part}_labels.npy", (count,))
        if not (shapes[:, :2] > 0).all() or not np.isin(shapes[:, 2], (1, 3)).all() or shapes.max() > MOST_SIDE:
            raise ValueError(f"{part}: its images have no size")
        with reading.open_regular(self.folder / f"{part}_pixels.bin", limit=0) as file:
            pixels = np.asarray(np.memmap(file, dtype=np.uint8, mode="r"))
        lengths = shapes.prod(axis=1)
        if int(lengths.sum()) != len(pixels):
            raise ValueError(f"{part}: its files do not belong together")
        starts = np.concatenate([[0], np.cumsum(lengths)])
        same = bool((shapes == shapes[0]).all())

        def blocks(indices: np.ndarray) -> Iterator[np.ndarray]:
            if same:
                yield from blocks_of(pixels.reshape(count, *shapes[0]), indices)
                return
            for index in indices:
                yield pixels[starts[index] : starts[index + 1]].reshape(1, *shapes[index])

        return RawSplit(labels=labels, channels=channels, blocks=blocks, sizes=sizes)

    def _numbers(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Whole numbers of that shape as int64. Raises OSError, ValueError, DataUnavailable for anything else."""
        with reading.open_regular(self.folder / name, limit=0) as file:
            header = checked_header(file, os.fstat(file.fileno()).st_size, name)
            if header.shape != shape or header.dtype.kind not in "iu":
                raise ValueError(f"{name} holds {header.dtype} {header.shape} instead of whole numbers {shape}")
            return np.frombuffer(file.read(), header.dtype).reshape(shape).astype(np.int64)
