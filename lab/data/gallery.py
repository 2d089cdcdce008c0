"""Rows of pictures with a label outside them: pixels stay pixels, labels are text, and narrow windows wrap."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from core.mosaic import mosaic
from lab.widgets.component import component
from lab.widgets.pictures import png
from lab.words import plain

STRIP = 590  # pixels on the screen a row of pictures may take
LABEL_LIMIT = 24
_component = component(__file__, "lab_gallery", '<div class="gallery" data-testid="gallery"></div>')


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One picture file: its address, and how wide it is on the screen, pixels. title: on hover."""

    src: str
    width: int
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Pictures behind one label; note stands under the label."""

    label: str
    pictures: tuple[Shown, ...]
    note: str = ""


def strip(label: str, images: np.ndarray, *, note: str = "", each: int = 10) -> Row:
    """images (N, H, W, C) uint8 side by side, at most `each`, at a whole number of screen pixels a pixel."""
    unit = each * (images.shape[2] + 1) - 1
    sheet = mosaic(images, columns=max(1, len(images)))
    zoom = max(1, STRIP // unit)
    return Row(label=label, note=note, pictures=(shown(sheet, zoom=zoom, title=label),))


def shown(picture: np.ndarray, *, zoom: float = 1.0, title: str = "") -> Shown:
    """(H, W, C) uint8, `zoom` screen pixels a pixel."""
    data = base64.b64encode(png(picture)).decode()
    return Shown(src=f"data:image/png;base64,{data}", width=max(1, round(picture.shape[1] * zoom)), title=plain(title))


def gallery(rows: Sequence[Row], *, key: str, columns: bool = True) -> None:
    """Draw the rows, several beside each other where there is room and `columns` is on."""
    texts = [text for row in rows for text in (plain(row.label, LABEL_LIMIT), plain(row.note, 60))]
    wide = max(map(len, texts), default=0)
    data = {
        "rows": [{**asdict(row), "label": plain(row.label, LABEL_LIMIT), "note": plain(row.note, 60)} for row in rows],
        "label_width": min(wide, 14),
        "columns": columns,
    }
    _component(data=data, key=key)
