"""A scatter of pictures: hovering shows the picture, a click picks it; flat, or in space and turned by dragging."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from lab.widgets.component import FRAMED, component
from lab.widgets.sprites import MIME, framed, sprite_sheet

MOST_NAMED = 20  # classes whose name is written into the cloud
_HTML = """
<div class="scatter" data-testid="scatter" data-ready="0" data-hovered="-1" tabindex="0"
     aria-label="Map of images: arrow keys go from image to image, Enter picks">
  <canvas class="cloud" role="img" aria-label="Map of images"></canvas>
  <div class="tip"><canvas></canvas><span></span></div>
</div>
"""
_component = component(__file__, "lab_scatter", _HTML, scripts=(FRAMED, "scatter"))


def pack_cloud(
    positions: np.ndarray,
    labels: np.ndarray,
    images: np.ndarray,
    names: Sequence[str],
    *,
    picked: tuple[int, int],
    colors: Sequence[str],
    height: int = 480,
) -> bytes:
    """positions (N, 2 or 3), labels (N,), images (N, H, W, C) uint8 → what the browser draws.

    names: one a class, written at the middle of its points. picked: the two marked A and B. With three coordinates the
    cloud is centred and can be turned.
    """
    count, dimensions = positions.shape
    points = np.zeros((count, 3), dtype="<f4")
    points[:, :dimensions] = positions - (positions.mean(axis=0) if dimensions == 3 else 0.0)
    sheet = sprite_sheet(list(images), quality=70)
    facts = hashlib.sha256(sheet.image)
    facts.update(points.tobytes())
    header = {
        "id": facts.hexdigest()[:16],
        "count": count,
        "space": dimensions == 3,
        "names": list(names),
        "named": len(names) if len(names) <= MOST_NAMED else 0,
        "colors": list(colors),
        "picked": list(picked),
        "height": height,
        "columns": sheet.columns,
        "cell": [sheet.width, sheet.height],
        "mime": MIME,
    }
    return framed(header, points.tobytes(), np.minimum(labels, 255).astype(np.uint8).tobytes(), sheet.image)


def scatter(payload: bytes, *, key: str, on_pick: Callable[[int], None]) -> None:
    """Show what `pack_cloud` made. on_pick(number) is called before the page runs again."""

    def picked() -> None:
        number = getattr(st.session_state.get(key), "picked", None)
        if isinstance(number, int | float):
            on_pick(int(number))

    _component(data=payload, key=key, on_picked_change=picked)
