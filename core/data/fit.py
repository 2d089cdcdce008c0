"""How pictures of any size and colour become squares of one size: the only arithmetic between a file and a model."""

from __future__ import annotations

import numpy as np
from PIL import Image

SLIGHTLY_SMALLER = 0.75  # of image_size on the longer side; less would leave more border than picture


def fit_pictures(pictures: np.ndarray, *, image_size: int, fit: str, channels: int) -> np.ndarray:
    """uint8 (n, h, w, 1 or 3) → uint8 (n, image_size, image_size, channels).

    `fit` = 'pad': pictures that are slightly smaller (28 for 32) get a border of 0, the darkest value. All others,
    and every picture with 'resize', are cropped to their central square and resized, antialiased.
    """
    pictures = convert_channels(pictures, channels)
    height, width = pictures.shape[1:3]
    if (height, width) == (image_size, image_size):
        return pictures
    if fit == "pad" and SLIGHTLY_SMALLER * image_size <= max(height, width) <= image_size:
        return _pad(pictures, image_size)
    return _resize(pictures, image_size)


def convert_channels(pictures: np.ndarray, channels: int) -> np.ndarray:
    """uint8 (n, h, w, 1 or 3) → (n, h, w, channels); grey is the luma of ITU-R 601, as in Pillow."""
    if pictures.shape[3] == channels:
        return pictures
    if channels == 3:
        return np.repeat(pictures, 3, axis=3)
    weighted = pictures.astype(np.uint32) @ np.array([19595, 38470, 7471], dtype=np.uint32)
    return ((weighted + 0x8000) >> 16).astype(np.uint8)[..., None]


def _pad(pictures: np.ndarray, image_size: int) -> np.ndarray:
    count, height, width, channels = pictures.shape
    top, left = (image_size - height) // 2, (image_size - width) // 2
    padded = np.zeros((count, image_size, image_size, channels), dtype=np.uint8)
    padded[:, top : top + height, left : left + width] = pictures
    return padded


def _resize(pictures: np.ndarray, image_size: int) -> np.ndarray:
    height, width, channels = pictures.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    squares = pictures[:, top : top + side, left : left + side]
    # Pillow's filters widen with the reduction, so nothing aliases; very large pictures are first averaged in blocks
    if side > 4 * image_size:
        images = [
            Image.fromarray(each[..., 0] if channels == 1 else each) for each in map(np.ascontiguousarray, squares)
        ]
        size, filter_ = (image_size, image_size), Image.Resampling.BICUBIC
        return np.stack(
            [np.asarray(image.resize(size, filter_, reducing_gap=3.0)).reshape(*size, channels) for image in images]
        )
    return _stretch_rows(_stretch_rows(squares, image_size).swapaxes(1, 2), image_size).swapaxes(1, 2)


def _stretch_rows(pictures: np.ndarray, width: int) -> np.ndarray:
    """(n, h, w, c) → (n, h, width, c): all rows of all pictures in one call of Pillow.

    Pillow, too, resizes rows first and columns of the rounded result then, so both together give its very pixels.
    """
    count, height, before, channels = pictures.shape
    rows = np.ascontiguousarray(pictures).reshape(count * height, before, channels)
    image = Image.fromarray(rows[..., 0] if channels == 1 else rows)
    stretched = image.resize((width, count * height), Image.Resampling.BICUBIC)
    return np.asarray(stretched).reshape(count, height, width, channels)
