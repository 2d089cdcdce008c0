"""Pictures as pixels: nearest-neighbour scaling, one-pixel gaps, black behind."""

from __future__ import annotations

import io

import numpy as np
import streamlit as st
from PIL import Image

from core.mosaic import mosaic


def png(picture: np.ndarray) -> bytes:
    """(H, W, C) uint8 → PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture).save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def show_pictures(
    images: np.ndarray, *, columns: int, caption: str = "", width: int | None = None, alt: str = "Samples"
) -> None:
    """A grid of pictures (N, H, W, C) at a whole number of screen pixels a pixel; `width` is a wish in pixels.

    alt: what screen readers say instead of it.
    """
    unit = columns * (images.shape[2] + 1) - 1
    zoom = max(1, round((width or 640) / unit))
    sheet = mosaic(images, columns=columns, zoom=zoom)
    st.image(png(sheet), width=sheet.shape[1], alt=alt)
    if caption:
        st.caption(caption)
