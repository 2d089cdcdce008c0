"""Sets of one's own pictures: read by the one reader, or, for runs of an earlier lab, as that lab read folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from core.config.schema import DataSettings
from core.data.decoding import GREY_MODES, SPLIT_NAMES, SUFFIXES, natural_key, read_header, read_picture
from core.data.limits import OWN_LIMITS, ReadLimits
from core.data.raw import RawSet, RawSplit, own_path
from core.data.reader.array_sets import ArrayParts
from core.data.reader.read import PictureSet, find_set, raw_set
from core.data.reader.reading_of_set import answered
from core.errors import DataUnavailable, LabError
from core.rules import NEWEST, Rules
from core.typed_paths import FILE, FOLDER, inside

COLOR_PROBES = 64  # pictures looked at to tell colour from grey


HINT = "give a folder with one directory per class, or a zip of one"


@dataclass(frozen=True, kw_only=True)
class ImageFolderLoader:
    """A folder or a zip archive of pictures, read as `rules` say."""

    limits: ReadLimits = OWN_LIMITS
    rules: Rules = NEWEST

    def files(self, settings: DataSettings, data_dir: Path) -> list[str]:
        """Every picture, class after class, and the tables that name them; of an archive the archive."""
        if self.rules.folders == 1:
            return [path for paths in self._classes(settings).values() for path in paths]
        path = own_path(settings, wants=(FOLDER, FILE), hint=HINT, limits=self.limits)
        if not path.is_dir():
            return [str(path)]
        return [f"{path}/{each}" for each in self._found(settings).files]

    def load(self, settings: DataSettings, data_dir: Path) -> RawSet:
        """Reads every header now, the pixels when they are asked for."""
        if self.rules.folders == 1:
            return self._load_as_before(settings)
        with _path_said(settings):
            found = self._found(settings)
            return raw_set(
                found, answered(settings), self.limits, image_size=settings.image_size, report=lambda *_: None
            )

    def _found(self, settings: DataSettings) -> PictureSet | ArrayParts:
        path = own_path(settings, wants=(FOLDER, FILE), hint=HINT, limits=self.limits)
        with _path_said(settings):
            return find_set(path, answered(settings), self.limits, follow=True, rule=self.rules.folders)

    def _load_as_before(self, settings: DataSettings) -> RawSet:
        """Version 1 of both rules. No test split, no archive."""
        classes = self._classes(settings)
        files = [path for paths in classes.values() for path in paths]
        # a name that is no UTF-8 could not be printed later
        names = tuple(name.encode(errors="replace").decode() for name in classes)
        labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in classes.values()])
        sizes = np.empty((len(files), 2), dtype=np.int64)
        colored = []
        for place, path in enumerate(files):
            header = read_header(Path(path))
            sizes[place] = header.height, header.width
            if header.mode not in GREY_MODES:
                colored.append(path)

        def blocks(indices: np.ndarray) -> Iterator[np.ndarray]:
            for index in indices:
                yield read_picture(Path(files[index]), at_least=settings.image_size)[None]

        channels = 3 if _has_color(colored) else 1
        train = RawSplit(labels=labels.astype(np.int64), channels=channels, blocks=blocks, sizes=sizes)
        return RawSet(train=train, heldout=None, class_names=names)

    def _classes(self, settings: DataSettings) -> dict[str, list[str]]:
        hint = "give a folder with one directory per class"
        return _classes(own_path(settings, wants=FOLDER, hint=hint, limits=self.limits), self.limits)


@contextmanager
def _path_said(settings: DataSettings) -> Iterator[None]:
    """A refusal begins with the path that it is about."""
    try:
        yield
    except LabError as error:
        if error.message.startswith("data.path: "):
            raise
        raise error.reworded(f"data.path: {settings.path}: {error.message}") from None


def _has_color(colored: list[str]) -> bool:
    """Palettes and RGB files may hold nothing but grey: a spread of them is decoded to see."""
    spread = colored[:: max(1, len(colored) // COLOR_PROBES)]
    return any(bool((pixels != pixels[..., :1]).any()) for pixels in (read_picture(Path(path)) for path in spread))


def _classes(folder: Path, limits: ReadLimits) -> dict[str, list[str]]:
    """Class name → its pictures, both in natural order (2 before 10)."""
    found: dict[str, list[str]] = {}
    left = limits.entries
    for path in sorted(filter(_is_class, folder.iterdir()), key=lambda path: natural_key(str(path))):
        found[path.name], left = _pictures(path, left, limits)
    if not any(found.values()):
        hint = "it needs one directory per class, with images inside"
        raise DataUnavailable(f"data.path: no images in the class directories of {folder}", hint)
    if {name.lower() for name in found} <= SPLIT_NAMES:
        raise DataUnavailable(
            f"data.path: {folder} holds {' and '.join(found)} instead of one directory per class",
            "give the folder that holds the class directories",
        )
    empty = [name for name, paths in found.items() if not paths]
    if empty:
        raise DataUnavailable(f"data.path: the class '{empty[0]}' in {folder} has no images", "fill or remove it")
    return found


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith((".", "__"))


def _pictures(folder: Path, left: int, limits: ReadLimits) -> tuple[list[str], int]:
    """(its pictures in natural order, how many entries may come after them). Raises DataUnavailable."""
    roots = [Path(root) for root in limits.roots]
    inside(folder, roots, where="data.path: ")
    found: list[str] = []
    for parent, directories, names in os.walk(folder):
        left -= len(directories) + len(names)
        if left < 0:
            raise DataUnavailable(f"data.path: more than {limits.entries:,} files and directories", "give fewer")
        pictures = [name for name in names if not name.startswith(".") and PurePath(name).suffix.lower() in SUFFIXES]
        paths = [f"{parent}/{name}" for name in pictures]
        for path in paths if roots else ():
            inside(Path(path), roots, where="data.path: ")
        found += paths
    return sorted(found, key=natural_key), left
