"""Folders of picture files with one directory a class."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.config.schema import DataSettings
from core.config.site import resolve_path
from core.data.decoding import GREY_MODES, SPLIT_NAMES, SUFFIXES, Header, natural_key, read_header, read_picture
from core.data.raw import RawSet, RawSplit
from core.errors import DataUnavailable
from core.typed_paths import FOLDER, kind_of

COLOR_PROBES = 64  # pictures looked at to tell colour from grey


@dataclass(frozen=True, kw_only=True)
class ImageFolderLoader:
    """A folder with one directory a class, pictures anywhere below it. No test split."""

    def files(self, settings: DataSettings, data_dir: Path) -> list[Path]:
        """Every picture, class after class."""
        return [path for paths in _classes(_folder(settings)).values() for path in paths]

    def load(self, settings: DataSettings, data_dir: Path) -> RawSet:
        """Reads every header now, the pixels when they are asked for."""
        classes = _classes(_folder(settings))
        files = [path for paths in classes.values() for path in paths]
        # a name that is no UTF-8 could not be printed later
        names = tuple(name.encode(errors="replace").decode() for name in classes)
        labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in classes.values()])
        headers = [read_header(path) for path in files]
        channels = 3 if _has_color(files, headers) else 1

        def blocks(indices: np.ndarray) -> Iterator[np.ndarray]:
            for index in indices:
                yield read_picture(files[index], at_least=settings.image_size)[None]

        sizes = np.array([(header.height, header.width) for header in headers], dtype=np.int64)
        train = RawSplit(labels=labels.astype(np.int64), channels=channels, blocks=blocks, sizes=sizes)
        return RawSet(train=train, heldout=None, class_names=names)


def _has_color(files: list[Path], headers: list[Header]) -> bool:
    """Palettes and RGB files may hold nothing but grey: a spread of them is decoded to see."""
    colored = [path for path, header in zip(files, headers, strict=True) if header.mode not in GREY_MODES]
    spread = colored[:: max(1, len(colored) // COLOR_PROBES)]
    return any(bool((pixels != pixels[..., :1]).any()) for pixels in map(read_picture, spread))


def _folder(settings: DataSettings) -> Path:
    folder = resolve_path(settings.path or "")
    kind_of(folder, wants=(FOLDER,), where="data.path: ", hint="give a folder with one directory per class")
    return folder


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Class name → its pictures, both in natural order (2 before 10)."""
    found = {path.name: _pictures(path) for path in _natural(folder.iterdir()) if _is_class(path)}
    if not any(found.values()):
        hint = "it needs one directory a class, with pictures inside"
        raise DataUnavailable(f"data.path: no pictures in the class directories of {folder}", hint)
    if {name.lower() for name in found} <= SPLIT_NAMES:
        raise DataUnavailable(
            f"data.path: {folder} holds {' and '.join(found)} instead of one directory a class",
            "give the folder that holds the class directories",
        )
    empty = [name for name, paths in found.items() if not paths]
    if empty:
        raise DataUnavailable(f"data.path: the class '{empty[0]}' in {folder} has no pictures", "fill or remove it")
    return found


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith((".", "__"))


def _pictures(folder: Path) -> list[Path]:
    found = [
        Path(parent) / name
        for parent, _, names in os.walk(folder)
        for name in names
        if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
    ]
    return _natural(found)


def _natural(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: natural_key(str(path)))
