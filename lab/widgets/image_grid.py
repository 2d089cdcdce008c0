"""A labeled grid of cells that can be chosen: rows Y, columns X, a block per Z. Cells appear as they arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import streamlit as st

from lab.widgets.sprites import MIME, framed, sprite_sheet

MOST_ZOOM = 4  # screen pixels per pixel
_HERE = Path(__file__)
_component = st.components.v2.component(
    "lab_image_grid",
    html='<div class="image-grid" data-testid="image-grid" data-cells="0"></div>',
    css=_HERE.with_name("image_grid.css").read_text(),
    js=_HERE.with_name("image_grid.js").read_text(),
)


def pack_grid(
    pictures: Mapping[int, np.ndarray],
    problems: Mapping[int, str],
    words: tuple[Sequence[str], ...],
    *,
    size: tuple[int, int],
) -> bytes:
    """Cells (H, W, C) uint8 by their place in the grid, sentences where there is none, labels of X, Y and Z → payload.

    size: width and height of a cell, so that cells still to come have their room.

    Raises ValueError when the cells are more than browsers decode.
    """
    places = sorted(pictures)
    sheet = sprite_sheet([pictures[place] for place in places]) if places else None
    body = sheet.image if sheet else b""
    header = {
        "words": [list(each) for each in words],
        "places": places,
        "problems": {str(place): text for place, text in problems.items()},
        "columns": sheet.columns if sheet else 0,
        "cell": list(size),
        "zoom": MOST_ZOOM,
        "mime": MIME,
    }
    return framed(header, body)


def image_grid(payload: bytes, *, key: str) -> int | None:
    """Show what `pack_grid` made; the place of the chosen cell, None while there is none."""
    picked = getattr(_component(data=payload, key=key, on_picked_change=lambda: None), "picked", None)
    return int(picked) if isinstance(picked, int | float) else None
