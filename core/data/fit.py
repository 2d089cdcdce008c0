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
    return np.stack([_resize(picture, image_size) for picture in pictures])


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


def _resize(picture: np.ndarray, image_size: int) -> np.ndarray:
    height, width, channels = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    image = Image.fromarray(np.ascontiguousarray(square[..., 0] if channels == 1 else square))
    # Pillow's filters widen with the reduction, so nothing aliases; very large pictures are first averaged in blocks
    gap = 3.0 if side > 4 * image_size else None
    resized = image.resize((image_size, image_size), Image.Resampling.BICUBIC, reducing_gap=gap)
    return np.asarray(resized).reshape(image_size, image_size, channels)
