"""A labeled grid of cells that can be chosen: rows Y, columns X, a block per Z. Cells appear as they arrive."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from lab.widgets.component import FRAMED, component
from lab.widgets.sprites import MIME, cells_across_and_down, framed, sprite_sheet

MOST_ZOOM = 4  # screen pixels per pixel
_component = component(
    __file__,
    "lab_image_grid",
    '<div class="image-grid" data-testid="image-grid" data-cells="0"></div>',
    scripts=(FRAMED, "image_grid"),
)


def pack_grid(
    pictures: Mapping[int, np.ndarray],
    problems: Mapping[int, str],
    words: tuple[Sequence[str], ...],
    *,
    size: tuple[int, int],
) -> bytes:
    """Cells (H, W, C) uint8 by their place in the grid, sentences where there is none, labels of X, Y and Z → payload.

    size: width and height of a cell, so that cells still to come have their room. Where all cells together are more
    than browsers decode, they are sent smaller.
    """
    places = sorted(pictures)
    shrink = _shrink(math.prod(map(len, words)), size)
    sheet = sprite_sheet([_smaller(pictures[place], shrink) for place in places]) if places else None
    body = sheet.image if sheet else b""
    header = {
        "words": [list(each) for each in words],
        "places": places,
        "problems": {str(place): text for place, text in problems.items()},
        "columns": sheet.columns if sheet else 0,
        "cell": [math.ceil(side / shrink) for side in size],
        "zoom": MOST_ZOOM * shrink,
        "mime": MIME,
    }
    return framed(header, body)


def _shrink(count: int, size: tuple[int, int]) -> int:
    """The least whole number by which cells of that size get smaller, so that one sheet holds them."""
    for factor in itertools.count(1):
        width, height = (math.ceil(side / factor) for side in size)
        with contextlib.suppress(ValueError):
            cells_across_and_down(count, width, height)
            break
    return factor


def _smaller(picture: np.ndarray, factor: int) -> np.ndarray:
    """A cell (H, W, C) with the mean of each `factor` × `factor` pixels as one."""
    pixels = np.asarray(Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture).reduce(factor))
    return pixels.reshape(*pixels.shape[:2], -1)


def image_grid(payload: bytes, *, key: str) -> int | None:
    """Show what `pack_grid` made; the place of the chosen cell, None while there is none."""
    picked = getattr(_component(data=payload, key=key, on_picked_change=lambda: None), "picked", None)
    return int(picked) if isinstance(picked, int | float) else None
