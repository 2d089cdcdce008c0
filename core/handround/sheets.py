"""The images of a report: of each film one sheet of all its frames, as a data address that needs no request."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from core.errors import LabError
from core.mosaic import mosaic
from core.runs.film import HELD, INPUTS, PREDICTED, RECONSTRUCTIONS, Film, read_film, thinned
from core.runs.film_export import CAPTIONS
from core.runs.run import Run

QUALITY = 82  # of WebP
MOST_SIDE = 16_000  # pixels of a WebP
ACROSS = 10
SHOWN_PX = 460  # about as wide a row of images is shown
LEVELS = ((24, 10, 1), (12, 10, 1), (8, 8, 1), (8, 6, 2), (6, 4, 4), (4, 2, 8), (2, 1, 32))  # frames, images, pixels


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One layer: frames side by side in `across` columns, each width × height pixels, and a text for each of them."""

    caption: str
    address: str
    across: int
    width: int
    height: int
    zoom: float
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """learning: sheets along the training. drawing: sheets along the denoising with the newest weights; none of a VAE.
    thinned: what was left out to save room, in a sentence, or ''."""

    learning: tuple[Sheet, ...]
    drawing: tuple[Sheet, ...]
    thinned: str = ""

    @property
    def size(self) -> int:
        """Characters of all addresses."""
        return sum(len(sheet.address) for sheet in (*self.learning, *self.drawing))


def pictures_of(run: Run, budget: int) -> Pictures | None:
    """What the previews of a run show, within so many characters; None where it has none that can be read."""
    try:
        film = read_film(run)
    except LabError:
        return None
    for level, (frames, images, every) in enumerate(LEVELS):
        found = _made(film, frames, images, every)
        if found.size <= budget:
            return replace(found, thinned=_left_out(film, frames, images, every) if level else "")
    return None


def _made(film: Film, frames: int, images: int, every: int) -> Pictures:
    last = len(film.timesteps) - 1
    times = thinned(len(film.steps), frames)
    words = tuple(f"step {film.steps[at]:,} of {film.steps_total:,}" for at in times)

    def sheet(name: str, stack: np.ndarray, texts: tuple[str, ...]) -> Sheet:
        return _sheet(CAPTIONS[name], stack[:, :images, ::every, ::every], texts)

    if not film.denoises:
        names = [name for name in (INPUTS, RECONSTRUCTIONS) if name in film.layers]
        return Pictures(
            learning=tuple(sheet(name, film.layers[name][times, last], words) for name in names), drawing=()
        )
    steps = thinned(len(film.timesteps), frames)
    texts = tuple(f"denoising step {at + 1} of {last + 1}, t = {film.timesteps[at]:.0f}" for at in steps)
    return Pictures(
        learning=(sheet(PREDICTED, film.layers[PREDICTED][times, last], words),),
        drawing=tuple(sheet(name, film.layers[name][-1, steps], texts) for name in (HELD, PREDICTED)),
    )


def _sheet(caption: str, stack: np.ndarray, words: tuple[str, ...]) -> Sheet:
    """stack (F, N, H, W, C) uint8 → one WebP."""
    rows = np.stack([mosaic(frame, columns=min(ACROSS, len(frame))) for frame in stack])
    height, width = rows.shape[1:3]
    across = max(1, min(len(rows), MOST_SIDE // width, math.ceil(math.sqrt(len(rows) * height / width))))
    whole = mosaic(rows, columns=across, gap=0)
    image = Image.fromarray(whole.repeat(3, axis=2) if whole.shape[2] == 1 else whole)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=4)
    zoom = SHOWN_PX / width
    return Sheet(
        caption=caption,
        address=f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}",
        across=across,
        width=width,
        height=height,
        zoom=max(1.0, math.floor(zoom)) if zoom >= 1 else zoom,
        words=words,
    )


def _left_out(film: Film, frames: int, images: int, every: int) -> str:
    parts = []
    if frames < max(len(film.steps), len(film.timesteps)):
        parts.append(f"{frames} frames of {max(len(film.steps), len(film.timesteps))}")
    if images < len(film.labels):
        parts.append(f"{images} images of {len(film.labels)}")
    if every > 1:
        parts.append(f"one pixel in {every} along each side")
    return f"To save room, it shows {', '.join(parts)}." if parts else ""
