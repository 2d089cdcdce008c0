"""Picture files of any kind as uint8 arrays: what is read, how large it may be, and in which order names are sorted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from core import reading
from core.errors import DataUnavailable

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))
MAX_PIXELS = 64_000_000  # checked before decoding: a 10 kB PNG can claim gigabytes
GREY_MODES = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"))
SPLIT_NAMES = frozenset(("train", "training", "test", "testing", "val", "valid", "validation", "eval"))


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a picture file says before it is decoded: Pillow's mode, and its size in pixels as stored."""

    mode: str
    width: int
    height: int


def read_header(source: Path | IO[bytes], *, where: str = "", max_pixels: int = MAX_PIXELS) -> Header:
    """From the header alone. Raises DataUnavailable, beginning with `where`, for what is no picture or is too large."""
    with opened_picture(source, where or str(source), max_pixels) as image:
        return Header(mode=str(image.mode), width=image.width, height=image.height)


def read_picture(
    source: Path | IO[bytes], *, at_least: int = 0, where: str = "", max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """uint8 (h, w, 1) for grey pictures, (h, w, 3) for others; upright, transparent parts black, 16 bits as 8.

    at_least: a JPEG may come smaller than stored, but its short side at least twice this. Raises DataUnavailable.
    """
    where = where or str(source)
    with opened_picture(source, where, max_pixels) as image:
        try:
            if at_least and image.format == "JPEG":
                side = min(image.size)
                wanted = min(1.0, 2 * at_least / side)
                image.draft(None, (int(image.width * wanted) + 1, int(image.height * wanted) + 1))
            return _pixels(ImageOps.exif_transpose(image), where)
        except (DataUnavailable, MemoryError):
            raise
        except Exception as error:  # decoders fed with damaged files raise anything
            raise DataUnavailable(f"{where}: damaged image ({_first_line(error)})", "repair or remove it") from None


def natural_key(text: str) -> tuple[list[tuple[bool, int, str]], str]:
    """Sorts names as people do: 2 before 10."""
    parts = re.split(r"(\d+)", text.lower())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts], text


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
