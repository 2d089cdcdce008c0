"""Pictures as pixels: nearest-neighbour scaling, one-pixel gaps, black behind."""

from __future__ import annotations

import io
import math

import numpy as np
import streamlit as st
from PIL import Image


def mosaic(images: np.ndarray, *, columns: int, gap: int = 1, zoom: int = 1) -> np.ndarray:
    """images (N, H, W, C) uint8 → one picture (H', W', C), row by row, every pixel `zoom` pixels wide."""
    count, height, width, channels = images.shape
    rows = math.ceil(count / columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet.repeat(zoom, axis=0).repeat(zoom, axis=1)


def png(picture: np.ndarray) -> bytes:
    """(H, W, C) uint8 → PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture).save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def show_pictures(images: np.ndarray, *, columns: int, caption: str = "", width: int | None = None) -> None:
    """A grid of pictures (N, H, W, C) at a whole number of screen pixels a pixel; `width` is a wish in pixels."""
    unit = columns * (images.shape[2] + 1) - 1
    zoom = max(1, round((width or 640) / unit))
    sheet = mosaic(images, columns=columns, zoom=zoom)
    st.image(png(sheet), width=sheet.shape[1])
    if caption:
        st.caption(caption)
