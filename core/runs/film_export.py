"""The film of learning as an animation: WebP or GIF, whichever the file's name says, written by Pillow."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core.errors import UsageError
from core.mosaic import mosaic
from core.runs.film import HELD, INPUTS, PREDICTED, RECONSTRUCTIONS, Film

Axis = Literal["training", "denoising", "both"]
FORMATS = {".webp": "WEBP", ".gif": "GIF"}
COLUMNS = 10
WIDTH = 640  # pixels, about: pictures are enlarged by a whole number
TEXT = 14  # pixels
LINGER_S = 1.5  # on the last frame
FRAMES_A_SECOND = {"training": 4.0, "denoising": 8.0, "both": 20.0}
CAPTIONS = {
    HELD: "Current sample (noisy)",
    PREDICTED: "Predicted x0",
    INPUTS: "Held-out images",
    RECONSTRUCTIONS: "Reconstructions",
}


def moment_in_words(film: Film, time: int, frame: int) -> str:
    """'step 1,200 of 1,700 · t = 583', without t for a VAE."""
    words = f"step {film.steps[time]:,} of {film.steps_total:,}"
    return words if not film.denoises else f"{words} · t = {film.timesteps[frame]:.0f}"


def check_suffix(path: Path) -> str:
    """Pillow's name of the format. Raises UsageError for a file name that is neither .webp nor .gif."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise UsageError(f"{path.name}: a film is written as .webp or .gif", "name the file film.webp") from None


def moments(film: Film, axis: Axis) -> list[tuple[int, int]]:
    """(training time, denoising step) of each frame: along one axis at the end of the other, or all, row by row."""
    times, frames = range(len(film.steps)), range(len(film.timesteps))
    if axis == "training" or not film.denoises:
        return [(time, frames[-1]) for time in times]
    if axis == "denoising":
        return [(times[-1], frame) for frame in frames]
    return [(time, frame) for time in times for frame in frames]


def animation(
    film: Film,
    *,
    axis: Axis = "both",
    layers: tuple[str, ...] = (),
    format: str = "WEBP",
    words: Sequence[str] = (),
    columns: int = COLUMNS,
    exif: bytes = b"",
    progress: Callable[[float], None] = lambda share: None,
) -> bytes:
    """The film as an endless animation; `layers` (default: all) stand below each other, under their captions.

    words: one text a denoising step instead of training step and t. exif: kept in the file, in a WebP only.
    progress: told the share of the frames that are made, 0 to 1.
    """
    shown = layers or tuple(film.layers)
    places = moments(film, axis)
    texts = [words[frame] if words else moment_in_words(film, time, frame) for time, frame in places]
    duration = round(1000 / FRAMES_A_SECOND[axis if film.denoises else "training"])
    durations = [duration] * (len(places) - 1) + [round(LINGER_S * 1000)]
    pictures = _counted(_pictures(film, shown, places, texts, columns), len(places), progress)
    first = next(pictures)
    options: dict[str, Any] = {"quality": 85, "method": 3} if format == "WEBP" else {"optimize": False}
    if exif and format == "WEBP":
        options["exif"] = exif
    buffer = io.BytesIO()
    first.save(buffer, format, save_all=True, append_images=pictures, duration=durations, loop=0, **options)
    return buffer.getvalue()


def _counted(pictures: Iterator[Image.Image], count: int, progress: Callable[[float], None]) -> Iterator[Image.Image]:
    for done, picture in enumerate(pictures, 1):
        yield picture
        progress(done / count)


def _pictures(
    film: Film, layers: tuple[str, ...], places: list[tuple[int, int]], texts: list[str], columns: int
) -> Iterator[Image.Image]:
    """One picture a moment, made when it is asked for."""
    font = ImageFont.load_default(TEXT)
    pixels = film.layers[layers[0]].shape
    columns = min(columns, pixels[2])
    zoom = max(1, round(WIDTH / (columns * (pixels[4] + 1))))
    line = TEXT + 8
    width = max((columns * (pixels[4] + 1) - 1) * zoom, 320)
    block = (math.ceil(pixels[2] / columns) * (pixels[3] + 1) - 1) * zoom
    for (time, frame), text in zip(places, texts, strict=True):
        canvas = Image.new("RGB", (width, line + len(layers) * (line + block)), "black")
        draw = ImageDraw.Draw(canvas)
        draw.text((4, 2), text, font=font, fill="white")
        for index, layer in enumerate(layers):
            top = line + index * (line + block)
            draw.text((4, top + 2), CAPTIONS[layer], font=font, fill="#a0a0a0")
            sheet = mosaic(film.layers[layer][time, min(frame, pixels[1] - 1)], columns=columns, zoom=zoom)
            canvas.paste(
                Image.fromarray(np.ascontiguousarray(sheet[..., 0] if pixels[5] == 1 else sheet)), (0, top + line)
            )
        yield canvas
