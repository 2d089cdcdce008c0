"""Picture files of any kind as uint8 arrays, and folders of them with one directory a class."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from core.config.load import resolve_path
from core.config.schema import DataSettings
from core.data.raw import RawSet, RawSplit
from core.errors import DataUnavailable

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))
MAX_PIXELS = 64_000_000  # checked before decoding: a 10 kB PNG can claim gigabytes
COLOR_PROBES = 64  # pictures looked at to tell colour from grey
GREY_MODES = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"))
SPLIT_NAMES = frozenset(("train", "training", "test", "testing", "val", "valid", "validation", "eval"))


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
        channels = 3 if _has_color(files) else 1

        def blocks(indices: np.ndarray) -> Iterator[np.ndarray]:
            for index in indices:
                yield read_picture(files[index], at_least=settings.image_size)[None]

        train = RawSplit(labels=labels.astype(np.int64), channels=channels, blocks=blocks)
        return RawSet(train=train, heldout=None, class_names=names)


def mode_of(path: Path) -> str:
    """Pillow's mode, from the header alone. Raises DataUnavailable for what is no picture or is too large."""
    with _open(path) as image:
        return str(image.mode)


def read_picture(path: Path, *, at_least: int = 0) -> np.ndarray:
    """uint8 (h, w, 1) for grey pictures, (h, w, 3) for others; upright, transparent parts black, 16 bits as 8.

    at_least: a JPEG may come smaller than stored, but its short side at least twice this. Raises DataUnavailable.
    """
    with _open(path) as image:
        try:
            if at_least and image.format == "JPEG":
                side = min(image.size)
                wanted = min(1.0, 2 * at_least / side)
                image.draft(None, (int(image.width * wanted) + 1, int(image.height * wanted) + 1))
            return _pixels(ImageOps.exif_transpose(image), path)
        except DataUnavailable:
            raise
        except Exception as error:  # decoders fed with damaged files raise anything
            raise DataUnavailable(f"{path}: damaged picture ({_first_line(error)})", "repair or remove it") from None


def _has_color(files: list[Path]) -> bool:
    """Reads every header. Palettes and RGB files may hold nothing but grey: a spread of them is decoded to see."""
    colored = [path for path in files if mode_of(path) not in GREY_MODES]
    spread = colored[:: max(1, len(colored) // COLOR_PROBES)]
    return any(bool((pixels != pixels[..., :1]).any()) for pixels in map(read_picture, spread))


def _pixels(image: Image.Image, path: Path) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grey; convert("L") would clip it
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataUnavailable(f"{path}: its pixels have more than 16 bits", "save it with 8 or 16")
        return ((values * 255 + 32767) // 65535).astype(np.uint8)[..., None]
    if image.mode == "F":
        raise DataUnavailable(f"{path}: its pixels are floating-point numbers", "save it with 8 or 16 bits")
    grey = image.mode in GREY_MODES
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    pixels = np.asarray(image.convert("L" if grey else "RGB"))
    return pixels[..., None] if grey else pixels


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path, formats=FORMATS)
    except Exception as error:  # parsers fed with damaged headers raise anything
        raise DataUnavailable(
            f"{path}: not a picture that can be read ({_first_line(error)})", "repair or remove it"
        ) from None
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width} × {image.height}"
        image.close()
        raise DataUnavailable(f"{path}: {size} pixels are more than {MAX_PIXELS:,}", "make it smaller or remove it")
    return image


def _folder(settings: DataSettings) -> Path:
    folder = resolve_path(settings.path or "")
    if not folder.is_dir():
        raise DataUnavailable(f"data.path: there is no folder {folder}", "give a folder with one directory a class")
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


def _natural(paths: Any) -> list[Path]:
    def key(path: Path) -> tuple[list[tuple[bool, int, str]], str]:
        parts = re.split(r"(\d+)", str(path).lower())
        return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts], str(path)

    return sorted(paths, key=key)


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
