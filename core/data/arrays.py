"""Any dataset as one uint8 array a split: on disk once, memory-mapped read-only, with a fingerprint of its content."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core import atomic, leftovers, reading, words
from core.config.schema import DataSettings
from core.data import own_data
from core.data.array_files import ArrayWriter, open_array
from core.data.catalog import CatalogEntry, entry, present_names
from core.data.fit import fit_pictures
from core.data.limits import OWN_LIMITS, ReadLimits
from core.data.loaders import TorchvisionLoader
from core.data.raw import RawSet
from core.data.reader.reading_of_set import answered
from core.data.splits import check_labels, holdout_indices, limited_indices, validation_indices
from core.errors import DataUnavailable, LabError, StorageFull, is_full_disk
from core.home import PROGRAM
from core.rules import NEWEST, Rules, check

logger = logging.getLogger(__name__)

FORMAT = 1  # of the arrays; another number makes every cache entry anew
COLORS_IN_KEY = {"gray": "grey"}  # as the settings spelled it when the first entries were named
FACTS = "set.json"
PARTS = ("train", "heldout")
Progress = Callable[[str, float], None]


@dataclass(frozen=True, kw_only=True)
class Split:
    """images (N, H, W, C) uint8, memory-mapped; labels (N,) int64."""

    images: np.ndarray
    labels: np.ndarray

    def part(self, places: np.ndarray) -> Split:
        """The images at these places, read when they are asked for."""
        return Split(images=Chosen(self.images, places), labels=self.labels[places])  # type: ignore[arg-type]


class Chosen:
    """Images at some places of an array, read when they are asked for."""

    def __init__(self, images: np.ndarray, places: np.ndarray) -> None:
        self.images, self.places = images, places
        self.nbytes = images[:1].nbytes * len(places)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, part: slice | np.ndarray) -> np.ndarray:
        return self.images[self.places[part]]

    def __array__(self, dtype: np.dtype[Any] | None = None, copy: bool | None = None) -> np.ndarray:
        return self.images[self.places].astype(dtype or self.images.dtype, copy=False)


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """A dataset ready for training. No held-out picture is in `train`.

    fingerprint: sha256 over every pixel, label and class name, so two sets that differ in anything a model could see
    have different ones, and a set that was merely copied or touched keeps its own.
    """

    name: str
    title: str
    train: Split
    heldout: Split
    class_names: tuple[str, ...]
    fingerprint: str

    @property
    def num_classes(self) -> int:
        """K; labels are 0..K-1."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """1 or 3."""
        return int(self.train.images.shape[3])

    @property
    def image_size(self) -> int:
        """Side of the pictures, pixels."""
        return int(self.train.images.shape[1])

    def learned(self, rule: int) -> Split:
        """What a training learns from by that version of the rule "split": `train` itself where it is all of it."""
        validating = validation_indices(self.train.labels, rule=rule)
        if not len(validating):
            return self.train
        return self.train.part(np.delete(np.arange(len(self.train.labels)), validating))

    def validation(self, rule: int) -> Split:
        """What a training validates on: images of `train` that it does not learn from, or else those held out."""
        validating = validation_indices(self.train.labels, rule=rule)
        return self.train.part(validating) if len(validating) else self.heldout


def prepare(
    settings: DataSettings,
    *,
    data_dir: Path,
    cache_dir: Path,
    seed: int = 0,
    rules: Rules = NEWEST,
    progress: Progress | None = None,
    limits: ReadLimits = OWN_LIMITS,
) -> ImageSet:
    """The dataset that these settings describe, from the cache or built now.

    data_dir may be read-only; something is downloaded into it only when the set is missing and settings.download is
    on. rules: those of the run that asks. progress(stage, fraction). limits: of the process that reads data.path.
    Raises ConfigError, DataUnavailable or StorageFull, each one sentence.
    """
    for name in ("folders", "bit_depth"):
        check(name, getattr(rules, name))
    report = progress or (lambda stage, fraction: None)
    if entry(settings.name).needs_path:
        more = {"seed": seed, "rules": asdict(rules)}
        request = own_data.request_of(
            "arrays", settings, data_dir=data_dir, cache_dir=cache_dir, limits=limits, more=more
        )
        return open_image_set(Path(own_data.read(request, report=report)))
    folder = arrays_folder(settings, data_dir=data_dir, cache_dir=cache_dir, seed=seed, rules=rules, report=report)
    return open_image_set(folder)


def arrays_folder(
    settings: DataSettings,
    *,
    data_dir: Path,
    cache_dir: Path,
    seed: int = 0,
    rules: Rules = NEWEST,
    report: Progress = lambda stage, fraction: None,
    limits: ReadLimits = OWN_LIMITS,
) -> Path:
    """Where `prepare` finds the arrays; they are made now, in this process, when they are not there whole.

    rules: of the run that asks. limits: for what is read from data.path. Raises as `prepare` does.
    """
    found = entry(settings.name, limits, rules)
    source = source_files(found, settings, data_dir)
    folder = cache_dir / "arrays" / f"{settings.name}-{_key(found, settings, source, seed, rules)}"
    if folder.exists():
        try:
            open_image_set(folder)
            return folder
        except DataUnavailable as error:
            logger.warning("%s; building it again", error.message)
    report(f"reading {settings.name}", 0.0)
    raw = found.loader.load(settings, data_dir)
    check_labels(raw, where=_where(settings))
    try:
        _build(folder, raw, found, settings, seed, rules.split, report)
    except OSError as error:
        if is_full_disk(error):
            raise StorageFull(f"disk full while writing the arrays of '{settings.name}' to {cache_dir}") from None
        raise LabError(f"site.cache: cannot write to {cache_dir} ({error.strerror or error})") from None
    return folder


def check_own_files(settings: DataSettings, *, limits: ReadLimits = OWN_LIMITS) -> None:
    """List what data.path names, in the process that reads such things; nothing is made.

    Raises ConfigError, DataUnavailable, each one sentence.
    """
    own_data.read(own_data.request_of("files", settings, data_dir=Path(), cache_dir=Path(), limits=limits))


def list_own_files(settings: DataSettings, *, data_dir: Path, limits: ReadLimits, **_: object) -> Path:
    """As `check_own_files`, in this process; gives what data.path names."""
    source_files(entry(settings.name, limits), settings, data_dir)
    return Path(settings.path or "")


def open_image_set(folder: Path) -> ImageSet:
    """A set that `prepare` left in the cache. Raises DataUnavailable when it is not whole.

    Size and modification time of each array are compared with those at its making; when they differ (a copied
    cache, or damage) the contents are hashed again.
    """
    try:
        facts = reading.read_object(folder / FACTS)
        if facts["format"] != FORMAT:
            raise ValueError("another format")
        splits = {part: _open_split(folder, part, facts["files"]) for part in PARTS}
        opened = ImageSet(
            name=facts["name"],
            title=facts["title"],
            train=splits["train"],
            heldout=splits["heldout"],
            class_names=tuple(facts["class_names"]),
            fingerprint=facts["fingerprint"],
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise DataUnavailable(f"{folder}: damaged arrays ({type(error).__name__}: {error})") from None
    if opened.fingerprint != _fingerprint(facts["files"], opened.class_names):
        raise DataUnavailable(f"{folder}: damaged arrays (the fingerprint does not match)")
    return opened


def source_files(found: CatalogEntry, settings: DataSettings, data_dir: Path) -> Sequence[Path | str]:
    """The files of a set; what is missing is downloaded if settings.download. Raises ConfigError, DataUnavailable."""
    files = found.loader.files(settings, data_dir)
    if found.needs_path or all(Path(path).is_file() for path in files):
        return files
    reason = f"data.name: '{settings.name}' is not in {data_dir}"
    hint = f"there now: {', '.join(present_names(data_dir))}"
    if not isinstance(found.loader, TorchvisionLoader):
        raise DataUnavailable(reason, hint)
    hint += f"; to download it, run: {PROGRAM} data {settings.name} --download"
    if not settings.download:
        raise DataUnavailable(f"{reason} and data.download is off", hint)
    try:
        found.loader.fetch(data_dir)
    except DataUnavailable as error:
        raise DataUnavailable(f"{reason} and {error.message}", hint) from None
    return files


def file_stats(files: Sequence[Path | str], settings: DataSettings) -> list[tuple[str, int, int]]:
    """(path, size, modification time) of each: what tells that a source has changed. Raises DataUnavailable."""
    try:
        facts = ((str(path), Path(path).stat()) for path in files)
        return [(path, stat.st_size, stat.st_mtime_ns) for path, stat in facts]
    except OSError as error:
        raise DataUnavailable(f"{_where(settings)}: {error.filename} cannot be read ({error.strerror})") from None


def _key(found: CatalogEntry, settings: DataSettings, files: Sequence[Path | str], seed: int, rules: Rules) -> str:
    """Everything that the arrays are made from; what has no influence is left out, so that it rebuilds nothing."""
    own_heldout = bool(found.test_count)
    parts = {
        "format": FORMAT,
        "files": file_stats(files, settings),
        "pixels": [settings.name, settings.image_size, settings.fit, COLORS_IN_KEY.get(settings.color, settings.color)],
        "path": settings.path if found.needs_path else None,
        "holdout_fraction": None if own_heldout else settings.holdout_fraction,
        "train_limit": settings.train_limit,
        "seed": None if own_heldout and settings.train_limit is None else seed,
    }
    if found.needs_path and (rules.folders, rules.bit_depth) != (1, 1):
        parts["reading"] = [rules.folders, rules.bit_depth, answered(settings).given()]
    return hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _build(
    folder: Path, raw: RawSet, found: CatalogEntry, settings: DataSettings, seed: int, rule: int, report: Progress
) -> None:
    everything = np.arange(len(raw.train.labels))
    if raw.heldout is None:
        train, heldout = holdout_indices(
            raw.train.labels, settings.holdout_fraction, seed, where=_where(settings), rule=rule
        )
        parts = ((raw.train, train), (raw.train, heldout))
    else:
        parts = ((raw.train, everything), (raw.heldout, np.arange(len(raw.heldout.labels))))
    parts = ((parts[0][0], limited_indices(parts[0][1], settings.train_limit, seed, rule=rule)), parts[1])
    channels = {"native": raw.train.channels, "gray": 1, "rgb": 3}[settings.color]
    total = sum(len(indices) for _, indices in parts)
    _check_space(folder, total * settings.image_size**2 * channels)
    with leftovers.built_beside(folder) as temporary:
        files: dict[str, Any] = {}
        done = 0
        for part, (split, indices) in zip(PARTS, parts, strict=True):
            shape = (len(indices), settings.image_size, settings.image_size, channels)
            with ArrayWriter(temporary / f"{part}_images.npy", shape, np.dtype(np.uint8)) as writer:
                for block in split.blocks(indices):
                    writer.write(
                        fit_pictures(block, image_size=settings.image_size, fit=settings.fit, channels=channels)
                    )
                    done += len(block)
                    report(f"preparing {settings.name}", done / total)
            files[f"{part}_images.npy"] = writer.facts
            with ArrayWriter(temporary / f"{part}_labels.npy", (len(indices),), np.dtype(np.int64)) as writer:
                writer.write(split.labels[indices])
            files[f"{part}_labels.npy"] = writer.facts
        facts = {
            "format": FORMAT,
            "name": settings.name,
            "title": _title(found, settings),
            "class_names": list(raw.class_names),
            "fingerprint": _fingerprint(files, raw.class_names),
            "files": files,
        }
        atomic.write_json(temporary / FACTS, facts)
        leftovers.publish(temporary, folder, is_whole=_is_whole)


def _is_whole(folder: Path) -> bool:
    try:
        open_image_set(folder)
        return True
    except DataUnavailable:
        return False


def _open_split(folder: Path, part: str, files: dict[str, Any]) -> Split:
    images = open_array(folder / f"{part}_images.npy", files[f"{part}_images.npy"], memory_mapped=True)
    labels = open_array(folder / f"{part}_labels.npy", files[f"{part}_labels.npy"], memory_mapped=False)
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(labels):
        raise ValueError(f"{part} has the wrong shape")
    return Split(images=images, labels=labels)


def _fingerprint(files: dict[str, Any], class_names: tuple[str, ...]) -> str:
    contents = [[name, files[name]["sha256"]] for name in sorted(files)]
    return hashlib.sha256(json.dumps([contents, list(class_names)]).encode()).hexdigest()


def _check_space(folder: Path, size_bytes: int) -> None:
    existing = next(path for path in folder.parents if path.exists())
    free = shutil.disk_usage(existing).free
    if size_bytes > free:
        raise StorageFull(
            f"site.cache: the arrays need {words.size(size_bytes)}, {existing} has {words.size(free)} free",
            "free some space, or lower data.image_size or data.train_limit",
        )


def _where(settings: DataSettings) -> str:
    return (
        f"data.path: {settings.path}"
        if settings.path and entry(settings.name).needs_path
        else f"data.name: {settings.name}"
    )


def _title(found: CatalogEntry, settings: DataSettings) -> str:
    return Path(settings.path).name if found.needs_path and settings.path else found.title
