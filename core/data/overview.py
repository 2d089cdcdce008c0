"""What a dataset holds, seen once and kept: pictures of each class, balance, sizes, values, duplicates."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core import atomic, leftovers, reading
from core.config.schema import DataSettings
from core.data import own_data
from core.data.arrays import Progress, file_stats, source_files
from core.data.catalog import entry
from core.data.duplicates import Duplicates, digests_of, find_duplicates, squeezed
from core.data.fit import fit_pictures
from core.data.limits import OWN_LIMITS, ReadLimits
from core.data.raw import RawSet, RawSplit
from core.data.reader.reading_of_set import Reading, answered, reading_from
from core.data.splits import check_labels, holdout_indices, validation_counts
from core.errors import LabError
from core.rules import NEWEST
from core.seeding import derive

logger = logging.getLogger(__name__)

FORMAT = 1
EACH = 10  # pictures a class in the gallery
THUMB = 64  # side of a gallery picture when the originals are larger or of mixed sizes
EXAMPLES = 6
EXAMPLE_SIDE = 256
KEPT = 32  # overviews in the cache
READ = 256  # pictures read at once
ARRAYS = (
    "counts_train",
    "counts_heldout",
    "sizes",
    "values",
    "gallery",
    "gallery_counts",
    "pair_pictures",
    "pair_labels",
)


@dataclass(frozen=True, kw_only=True)
class Overview:
    """counts_train, counts_heldout (K,). sizes (S, 3): height, width, how many, most frequent first, of both splits.

    values (C, 256): how often each value comes in the training pictures. gallery (K, 10, h, w, C) uint8, of which the
    first gallery_counts (K,) of a class are pictures; are_native: they are the originals' own pixels. examples: a few
    training pictures in full, at most 256 pixels on the short side. pair_pictures (P, 2, h, w, C) show
    duplicates.pairs, pair_labels (P, 2) are their classes. reading: what a set of one's own was taken for.
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    has_own_heldout: bool
    channels: int
    counts_train: np.ndarray
    counts_heldout: np.ndarray
    sizes: np.ndarray
    values: np.ndarray
    gallery: np.ndarray
    gallery_counts: np.ndarray
    are_native: bool
    examples: tuple[np.ndarray, ...]
    duplicates: Duplicates
    pair_pictures: np.ndarray
    pair_labels: np.ndarray
    reading: Reading | None = None

    @property
    def num_validation(self) -> int:
        """How many of the training images a new run validates on."""
        return int(validation_counts(self.counts_train).sum())

    @property
    def mean(self) -> np.ndarray:
        """(C,) mean value of the training pixels, 0 to 255."""
        return np.asarray(self.values @ np.arange(256.0) / self.values.sum(axis=1))

    @property
    def deviation(self) -> np.ndarray:
        """(C,) standard deviation of the training pixels."""
        square = self.values @ np.arange(256.0) ** 2 / self.values.sum(axis=1)
        return np.asarray(np.sqrt(np.maximum(square - self.mean**2, 0)))


def describe(settings: DataSettings, *, data_dir: Path, cache_dir: Path, progress: Progress | None = None) -> Overview:
    """The overview of the set that these settings name, from the cache or made now; the pictures are read once.

    Raises ConfigError, DataUnavailable or StorageFull, each one sentence.
    """
    report = progress or (lambda stage, fraction: None)
    if entry(settings.name).needs_path:
        folder = described_path(settings, data_dir=data_dir, cache_dir=cache_dir, report=report)
    else:
        folder = described_folder(settings, data_dir=data_dir, cache_dir=cache_dir, report=report)
    found = open_overview(folder)
    if found is None:
        raise LabError(f"site.cache: {folder} went away while it was read", "try again")
    return found


def described_path(
    settings: DataSettings,
    *,
    data_dir: Path,
    cache_dir: Path,
    report: Progress = lambda stage, fraction: None,
    cancelled: Callable[[], bool] = lambda: False,
    limits: ReadLimits = OWN_LIMITS,
) -> Path:
    """As `described_folder`, of a set that is read from data.path: by a limited process."""
    request = own_data.request_of("overview", settings, data_dir=data_dir, cache_dir=cache_dir, limits=limits)
    return Path(own_data.read(request, report=report, cancelled=cancelled))


def described_folder(
    settings: DataSettings,
    *,
    data_dir: Path,
    cache_dir: Path,
    report: Progress = lambda stage, fraction: None,
    limits: ReadLimits = OWN_LIMITS,
) -> Path:
    """Where the overview is kept; it is made now, in this process, when it is not there. Raises as `describe` does."""
    folder = overview_folder(settings, data_dir=data_dir, cache_dir=cache_dir, limits=limits)
    if open_overview(folder) is not None:
        return folder
    report("reading", 0.0)
    found = entry(settings.name, limits)
    raw = found.loader.load(settings, data_dir)
    check_labels(raw, where=f"data.name: {settings.name}")
    title = Path(settings.path).name if found.needs_path and settings.path else found.title
    made = overview_of(raw, name=settings.name, title=title, holdout_fraction=settings.holdout_fraction, report=report)
    try:
        _keep(made, folder)
    except OSError as error:
        raise LabError(f"site.cache: cannot write to {cache_dir} ({error.strerror or error})") from None
    return folder


def overview_folder(
    settings: DataSettings, *, data_dir: Path, cache_dir: Path, limits: ReadLimits = OWN_LIMITS
) -> Path:
    """Where the overview is kept: the name says which files it is of, as they are now. Raises DataUnavailable."""
    found = entry(settings.name, limits)
    files = source_files(found, settings, data_dir)
    parts = {
        "format": FORMAT,
        "files": file_stats(files, settings),
        "holdout_fraction": None if found.test_count else settings.holdout_fraction,
    }
    if found.needs_path:
        parts["reading"] = [NEWEST.folders, NEWEST.bit_depth, answered(settings).given()]
    key = hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return cache_dir / "overviews" / f"{settings.name}-{key}"


def overview_of(
    raw: RawSet, *, name: str, title: str, holdout_fraction: float, report: Progress = lambda stage, fraction: None
) -> Overview:
    """Everything about a set, reading each picture once."""
    train, heldout, own = _splits(raw, holdout_fraction)
    parts = ((raw.train, train), (raw.heldout or raw.train, heldout))
    total = sum(len(indices) for _, indices in parts)
    channels = raw.train.channels
    values = np.zeros((channels, 256), dtype=np.int64)
    digests: list[bytes] = []
    vectors = _on_disk((total, 256))
    seen: list[tuple[int, int]] = []
    for part, (split, indices) in enumerate(parts):
        for start in range(0, len(indices), READ):
            for block in split.blocks(indices[start : start + READ]):
                vectors[len(digests) : len(digests) + len(block)] = squeezed(block)
                digests += digests_of(block)
                seen += [block.shape[1:3]] * len(block)
                if part == 0:
                    for channel in range(channels):
                        plane = block[..., channel if block.shape[3] == channels else 0]
                        values[channel] += np.bincount(plane.reshape(-1), minlength=256)
            report("looking at the images", len(digests) / total)
    labels = np.concatenate([split.labels[indices] for split, indices in parts])
    report("looking for duplicates", 1.0)
    duplicates = find_duplicates(digests, vectors, labels, len(train))
    sizes = _sizes(parts, np.array(seen))
    side = int(sizes[0, 0]) if len(sizes) == 1 and sizes[0, 0] == sizes[0, 1] <= THUMB else 0
    chosen, counts = _chosen(raw.train.labels, train, len(raw.class_names))
    gallery = np.zeros((*chosen.shape, side or THUMB, side or THUMB, channels), dtype=np.uint8)
    for label, count in enumerate(counts):
        gallery[label, :count] = _pictures(raw.train, chosen[label, :count], side or THUMB, channels)
    both = np.concatenate([train, heldout])

    def one(place: int) -> np.ndarray:
        split = raw.train if place < len(train) or raw.heldout is None else raw.heldout
        return _pictures(split, both[place : place + 1], side or THUMB, channels)

    pairs = [np.concatenate([one(place) for place in pair]) for pair in duplicates.pairs.tolist()]
    return Overview(
        name=name,
        title=title,
        class_names=raw.class_names,
        has_own_heldout=own,
        channels=channels,
        counts_train=np.bincount(raw.train.labels[train], minlength=len(raw.class_names)),
        counts_heldout=np.bincount(parts[1][0].labels[heldout], minlength=len(raw.class_names)),
        sizes=sizes,
        values=values,
        gallery=gallery,
        gallery_counts=counts,
        are_native=bool(side),
        examples=tuple(_example(raw.train, int(index)) for index in chosen[:EXAMPLES, 0]),
        duplicates=duplicates,
        pair_pictures=np.array(pairs, dtype=np.uint8).reshape(-1, 2, side or THUMB, side or THUMB, channels),
        pair_labels=labels[duplicates.pairs],
        reading=raw.reading,
    )


def _on_disk(shape: tuple[int, ...]) -> np.ndarray:
    """float32 over a nameless file, so that a million pictures need no gigabyte of memory."""
    with tempfile.TemporaryFile() as file:
        os.posix_fallocate(file.fileno(), 0, max(1, 4 * math.prod(shape)))  # else a full disk is a SIGBUS
        return np.asarray(np.memmap(file, dtype=np.float32, mode="w+", shape=shape))


def _splits(raw: RawSet, holdout_fraction: float) -> tuple[np.ndarray, np.ndarray, bool]:
    if raw.heldout is not None:
        return np.arange(len(raw.train.labels)), np.arange(len(raw.heldout.labels)), True
    return (*holdout_indices(raw.train.labels, holdout_fraction, 0), False)


def _sizes(parts: Any, seen: np.ndarray) -> np.ndarray:
    """Heights and widths as stored, else as they were seen, with how often each comes."""
    stored = [split.sizes[indices] for split, indices in parts if split.sizes is not None]
    sizes, counts = np.unique(np.concatenate(stored) if len(stored) == len(parts) else seen, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return np.column_stack([sizes[order], counts[order]]).astype(np.int64)


def _chosen(labels: np.ndarray, train: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(K, 10) random training pictures of each class, the same every time, and how many there are."""
    chosen, counts = np.zeros((classes, EACH), dtype=np.int64), np.zeros(classes, dtype=np.int64)
    for label in range(classes):
        members = train[labels[train] == label]
        picked = np.random.default_rng(derive(0, "gallery", label)).permutation(members)[:EACH]
        chosen[label, : len(picked)], counts[label] = picked, len(picked)
    return chosen, counts


def _pictures(split: RawSplit, indices: np.ndarray, side: int, channels: int) -> np.ndarray:
    blocks = [fit_pictures(block, image_size=side, fit="resize", channels=channels) for block in split.blocks(indices)]
    return np.concatenate(blocks) if blocks else np.zeros((0, side, side, channels), dtype=np.uint8)


def _example(split: RawSplit, index: int) -> np.ndarray:
    """One picture (h, w, C), every n-th pixel of it when it is large."""
    picture = next(iter(split.blocks(np.array([index]))))[0]
    every = max(1, -(-min(picture.shape[:2]) // EXAMPLE_SIDE))
    return np.ascontiguousarray(picture[::every, ::every])


def _keep(made: Overview, folder: Path) -> None:
    """Into the cache, whole; the oldest of too many goes."""
    facts = asdict(made.duplicates)
    arrays = {name: getattr(made, name) for name in ARRAYS}
    arrays["pairs"] = facts.pop("pairs")
    arrays |= {f"example_{place}": picture for place, picture in enumerate(made.examples)}
    with leftovers.built_beside(folder) as temporary:
        with open(temporary / "arrays.npz", "wb") as file:
            np.savez(file, **arrays)
        described = {
            "format": FORMAT,
            "name": made.name,
            "title": made.title,
            "class_names": list(made.class_names),
            "has_own_heldout": made.has_own_heldout,
            "channels": made.channels,
            "are_native": made.are_native,
            "examples": len(made.examples),
            "duplicates": facts,
            "reading": made.reading.written() if made.reading else None,
        }
        atomic.write_json(temporary / "facts.json", described, durable=False)
        leftovers.publish(temporary, folder, is_whole=lambda _: False)
    others = sorted((path for path in folder.parent.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for old in others[:-KEPT]:
        with contextlib.suppress(OSError):  # another process was quicker
            leftovers.remove_folder(old)


def open_overview(folder: Path) -> Overview | None:
    """The overview that is kept there, or None when there is none that is whole."""
    try:
        facts = reading.read_object(folder / "facts.json")
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in ARRAYS}
            pairs = arrays["pairs"]
            examples = tuple(arrays[f"example_{place}"] for place in range(facts["examples"]))
        known = {**facts["duplicates"], "pair_kinds": tuple(facts["duplicates"]["pair_kinds"])}
        return Overview(
            name=facts["name"],
            title=facts["title"],
            class_names=tuple(facts["class_names"]),
            has_own_heldout=facts["has_own_heldout"],
            channels=facts["channels"],
            are_native=facts["are_native"],
            examples=examples,
            duplicates=Duplicates(**known, pairs=pairs),
            reading=reading_from(facts["reading"]) if facts.get("reading") else None,
            **found,
        )
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged cache raises whatever its parsers meet; it is made again
        logger.warning("%s: damaged overview (%s); making it again", folder, type(error).__name__)
        return None
