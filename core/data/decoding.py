"""Picture files of any kind as uint8 arrays: what is read, how large it may be, and in which order names are sorted."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from core import reading
from core.errors import DataUnavailable

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
WIDE_FORMATS = (
    *FORMATS,
    "AVIF",
    "JPEG2000",
    "TGA",
    "PCX",
    "QOI",
    "SGI",
    "DDS",
    "DIB",
    "MPO",
)  # none that runs a program
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))
_MORE = (".jfif", ".jpe", ".jif", ".mpo", ".avif", ".jp2", ".j2k", ".tga", ".pcx", ".qoi", ".sgi", ".dds", ".dib")
WIDE_SUFFIXES = SUFFIXES | frozenset((*_MORE, ".apng", ".pbm", ".pnm"))
UNREAD_SUFFIXES = frozenset(  # images that Pillow does not open, or only with a program of somebody else
    (".heic", ".heif", ".jxl", ".svg", ".eps", ".psd", ".exr", ".hdr", ".dng", ".cr2", ".nef", ".arw", ".raw", ".dcm")
)
MAX_PIXELS = 64_000_000  # checked before decoding: a 10 kB PNG can claim gigabytes
GREY_MODES = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"))
_BITS, _PLANES = 258, 284  # tags of TIFF: bits per value; 2 = a plane per color
GRAY_ALPHA = "RGBA"  # raw mode: of gray with alpha in 16 bits it gives both bytes of each
SPLIT_NAMES = frozenset(("train", "training", "test", "testing", "val", "valid", "validation", "eval"))


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a picture file says before it is decoded: Pillow's mode, and its size in pixels as stored.

    is_deep: more than 8 bits per value, so what becomes 255 depends on the whole set.
    """

    mode: str
    width: int
    height: int
    is_deep: bool


def read_header(source: Path | IO[bytes], *, where: str = "", max_pixels: int = MAX_PIXELS) -> Header:
    """From the header alone. Raises DataUnavailable, beginning with `where`, for what is no picture or is too large."""
    with opened_picture(source, where or str(source), max_pixels) as image:
        return _header(image)


def read_picture(
    source: Path | IO[bytes], *, at_least: int = 0, where: str = "", max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """uint8 (h, w, 1) for grey pictures, (h, w, 3) for others; upright, transparent parts black, 16 bits as 8.

    at_least: a JPEG may come smaller than stored, but its short side at least twice this. Raises DataUnavailable.
    """
    where = where or str(source)
    with opened_picture(source, where, max_pixels) as image, _damage_said(where):
        if at_least and image.format == "JPEG":
            _draft(image, at_least)
        return _pixels(ImageOps.exif_transpose(image), where)


@dataclass(frozen=True, kw_only=True)
class Tops:
    """The stored value that becomes 255: of files with 8 bits, and of those with more, None while nobody knows it."""

    shallow: float = 255
    deep: float | None = None


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """pixels: uint8 (h, w, 1 or 3). header: of the file, before it was turned or reduced."""

    pixels: np.ndarray
    header: Header


def decode(data: bytes, *, where: str, tops: Tops, at_least: int = 0, max_pixels: int = MAX_PIXELS) -> Decoded:
    """As `read_picture`, of any kind that is read. Raises DataUnavailable, UnknownRange as `Tops` says."""
    with opened_picture(io.BytesIO(data), where, max_pixels, WIDE_FORMATS) as image:
        header = _wide_header(image, where)
        top = tops.deep if header.is_deep else tops.shallow
        if top is None:
            raise UnknownRange(where)
        if header.is_deep:
            return Decoded(pixels=scaled(_deep_values(data, where, max_pixels), top), header=header)
        with _damage_said(where):
            if at_least and image.format == "JPEG":
                _draft(image, at_least)
            return Decoded(pixels=scaled(_pixels(ImageOps.exif_transpose(image), where), top), header=header)


def scaled(values: np.ndarray, top: float) -> np.ndarray:
    """Stored values as uint8, with `top` as 255; what is larger becomes 255, what is below zero 0."""
    if values.dtype == np.uint8 and top == 255:
        return values
    return np.nan_to_num(np.rint(values.astype(np.float64) * (255 / top))).clip(0, 255).astype(np.uint8)


def header_of(data: bytes, *, where: str, max_pixels: int = MAX_PIXELS) -> Header:
    """From the header alone, of any kind that is read. Raises DataUnavailable."""
    with opened_picture(io.BytesIO(data), where, max_pixels, WIDE_FORMATS) as image:
        return _wide_header(image, where)


def stored_range(data: bytes, *, where: str, max_pixels: int = MAX_PIXELS) -> tuple[float, float]:
    """(lowest, highest) stored value of a file with more than 8 bits. Raises DataUnavailable, also for NaN."""
    values = _deep_values(data, where, max_pixels)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataUnavailable(f"{where}: its pixels are not all numbers", "repair or remove it")
    return float(values.min()), float(values.max())


class UnknownRange(Exception):
    """A file with more than 8 bits came up before the range of its set was known; its path."""


def natural_key(text: str) -> tuple[list[tuple[bool, int, str]], str]:
    """Sorts names as people do: 2 before 10."""
    parts = re.split(r"(\d+)", text.lower())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts], text


def _draft(image: Image.Image, at_least: int) -> None:
    """A JPEG is decoded smaller, but its short side at least twice as long as wanted."""
    wanted = min(1.0, 2 * at_least / min(image.size))
    image.draft(None, (int(image.width * wanted) + 1, int(image.height * wanted) + 1))


def _header(image: Image.Image) -> Header:
    mode = str(image.mode)
    raw_modes = _halves(image)
    if raw_modes[:1] == (GRAY_ALPHA,):
        mode = "LA"  # Pillow widens it to RGBA
    is_deep = bool(raw_modes) or mode.startswith("I") or mode == "F"
    return Header(mode=mode, width=image.width, height=image.height, is_deep=is_deep)


def _wide_header(image: Image.Image, where: str) -> Header:
    tags = getattr(image, "tag_v2", {})
    if tags.get(_PLANES) == 2 and max(tags.get(_BITS, (8,))) > 8:
        words = f"{where}: its colors lie in planes of {max(tags[_BITS])} bits each, which are not read"
        raise DataUnavailable(words, "save it as PNG, or with the colors of a pixel side by side")
    return _header(image)


def _halves(image: Image.Image) -> tuple[str, ...]:
    """Raw modes by which Pillow decodes color with 16 bits as its high bytes, then as its low ones; () for others.

    Pillow has no mode for such images: by itself it keeps the high bytes. GRAY_ALPHA gives both halves at once.
    """
    tiles = image.tile if isinstance(image, ImageFile) and image.format in ("PNG", "TIFF") else []
    found = {tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0]) for tile in tiles}
    if found == {"LA;16B"}:
        return (GRAY_ALPHA,)
    name, _, order = (found.pop() if len(found) == 1 else "").partition(";16")
    if name not in ("RGB", "RGBA", "RGBX") or order not in ("B", "L", "N"):
        return ()
    if order == "N":
        order = "L" if sys.byteorder == "little" else "B"
    return f"{name};16{order}", f"{name};16{'B' if order == 'L' else 'L'}"


def _deep_values(data: bytes, where: str, max_pixels: int) -> np.ndarray:
    """Stored values (h, w, 1 or 3) of a file with more than 8 bits, upright; transparent parts are 0."""
    halves = []
    for turn in range(2):
        with opened_picture(io.BytesIO(data), where, max_pixels, WIDE_FORMATS) as image, _damage_said(where):
            raw_modes = _halves(image)
            if raw_modes:
                assert isinstance(image, ImageFile)
                args = [
                    (raw_modes[turn], *tile.args[1:]) if isinstance(tile.args, tuple) else raw_modes[turn]
                    for tile in image.tile
                ]
                image.tile = [tile._replace(args=each) for tile, each in zip(image.tile, args, strict=True)]
            clear = image.info.get("transparency")
            halves.append(np.asarray(ImageOps.exif_transpose(image)))
            if turn + 1 >= len(raw_modes):
                break
    if not raw_modes:
        return halves[0][..., None]
    wide = [each.astype(np.uint16) for each in halves]
    values = wide[0] * 256 + wide[1] if len(wide) == 2 else wide[0][..., ::2] * 256 + wide[0][..., 1::2]
    if values.shape[2] in (2, 4):
        return np.rint(values[..., :-1] * (values[..., -1:] / 65535)).astype(np.uint16)
    if isinstance(clear, tuple):
        values[(values == clear).all(axis=2)] = 0
    return values


@contextmanager
def _damage_said(where: str) -> Iterator[None]:
    try:
        yield
    except (DataUnavailable, MemoryError):
        raise
    except Exception as error:  # decoders fed with damaged files raise anything
        raise DataUnavailable(f"{where}: damaged image ({_first_line(error)})", "repair or remove it") from None


def _pixels(image: Image.Image, where: str) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grey; convert("L") would clip it
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataUnavailable(f"{where}: its pixels have more than 16 bits", "save it with 8 or 16")
        return ((values * 255 + 32767) // 65535).astype(np.uint8)[..., None]
    if image.mode == "F":
        raise DataUnavailable(f"{where}: its pixels are floating-point numbers", "save it with 8 or 16 bits")
    grey = image.mode in GREY_MODES
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    pixels = np.asarray(image.convert("L" if grey else "RGB"))
    return pixels[..., None] if grey else pixels


@contextmanager
def opened_picture(
    source: Path | IO[bytes], where: str, max_pixels: int = MAX_PIXELS, formats: tuple[str, ...] = FORMATS
) -> Iterator[Image.Image]:
    """A picture with its header read and its pixels not yet. Raises DataUnavailable, which begins with `where`."""
    with ExitStack() as opened:
        try:
            file = opened.enter_context(reading.open_regular(source, limit=0)) if isinstance(source, Path) else source
            image = opened.enter_context(Image.open(file, formats=formats))
        except MemoryError:
            raise
        except reading.Unreadable:
            raise DataUnavailable(f"{where}: not an ordinary file", "remove it") from None
        except Image.DecompressionBombError:
            raise DataUnavailable(
                f"{where}: it has more than {max_pixels:,} pixels", "make it smaller or remove it"
            ) from None
        except UnidentifiedImageError:
            raise DataUnavailable(
                f"{where}: not an image that can be read (none of {', '.join(formats)})", "repair or remove it"
            ) from None
        except Exception as error:  # parsers fed with damaged headers raise anything
            raise DataUnavailable(
                f"{where}: not an image that can be read ({_first_line(error)})", "repair or remove it"
            ) from None
        if image.width * image.height > max_pixels:
            size = f"{image.width} × {image.height}"
            raise DataUnavailable(
                f"{where}: {size} pixels are more than {max_pixels:,}", "make it smaller or remove it"
            )
        yield image


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
