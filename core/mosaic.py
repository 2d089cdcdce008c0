"""Pictures side by side in one: nearest-neighbour scaling, one-pixel gaps, black behind."""

from __future__ import annotations

import math

import numpy as np


def mosaic(images: np.ndarray, *, columns: int, gap: int = 1, zoom: int = 1) -> np.ndarray:
    """images (N, H, W, C) uint8 → one picture (H', W', C), row by row, every pixel `zoom` pixels wide."""
    count, height, width, channels = images.shape
    rows = math.ceil(count / columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet.repeat(zoom, axis=0).repeat(zoom, axis=1)
