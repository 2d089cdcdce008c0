"""How pictures of any size and colour become squares of one size: the only arithmetic between a file and a model."""

from __future__ import annotations

import numpy as np
from PIL import Image


def fit_pictures(pictures: np.ndarray, *, image_size: int, fit: str, channels: int) -> np.ndarray:
    """uint8 (n, h, w, 1 or 3) → uint8 (n, image_size, image_size, channels).

    Pictures that are larger on any side are cropped to their central square and resized, antialiased. Smaller ones
    are enlarged by the largest whole factor that fits and get a border of 0, the darkest value (`fit` = 'pad'; 28 to
    32: factor 1 and two pixels a side), or are cropped and resized like the larger ones (`fit` = 'resize').
    """
    pictures = convert_channels(pictures, channels)
    height, width = pictures.shape[1:3]
    if (height, width) == (image_size, image_size):
        return pictures
    if fit == "pad" and max(height, width) > image_size > min(height, width):
        pictures = _central_square(pictures)
        height, width = pictures.shape[1:3]
    if fit == "pad" and max(height, width) <= image_size:
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
    factor = image_size // max(pictures.shape[1:3])
    if factor > 1:
        pictures = pictures.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, channels = pictures.shape
    top, left = (image_size - height) // 2, (image_size - width) // 2
    padded = np.zeros((count, image_size, image_size, channels), dtype=np.uint8)
    padded[:, top : top + height, left : left + width] = pictures
    return padded


def _central_square(pictures: np.ndarray) -> np.ndarray:
    height, width = pictures.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pictures[:, top : top + side, left : left + side]


def _resize(picture: np.ndarray, image_size: int) -> np.ndarray:
    height, width, channels = picture.shape
    image = Image.fromarray(np.ascontiguousarray(picture[..., 0] if channels == 1 else picture))
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    # Pillow's filters widen with the reduction, so nothing aliases; very large pictures are first averaged in blocks
    resized = image.resize(
        (image_size, image_size),
        Image.Resampling.BICUBIC,
        box=(left, top, left + side, top + side),
        reducing_gap=3.0 if side > 4 * image_size else None,
    )
    return np.asarray(resized).reshape(image_size, image_size, channels)
