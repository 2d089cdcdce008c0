"""Any picture becomes a square of one size without aliasing, and grey and colour turn into each other."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from core.data.fit import convert_channels, fit_pictures


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)


def test_padding_28_to_32_keeps_every_pixel_within_two_dark_ones() -> None:
    pictures = noise(3, 28, 28, 1)
    fitted = fit_pictures(pictures, image_size=32, fit="pad", channels=1)
    assert np.array_equal(fitted[:, 2:30, 2:30], pictures)
    assert fitted.astype(int).sum() == pictures.astype(int).sum()


def test_an_odd_pixel_of_border_goes_below_and_to_the_right() -> None:
    fitted = fit_pictures(noise(1, 29, 25, 1), image_size=32, fit="pad", channels=1)[0, ..., 0]
    rows, columns = np.flatnonzero(fitted.any(axis=1)), np.flatnonzero(fitted.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (1, 29, 3, 27)


@pytest.mark.parametrize("fit", ["pad", "resize"])
@pytest.mark.parametrize("size", [(32, 32), (64, 64), (100, 40), (40, 100), (8, 8), (32, 48), (20, 64), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_flat_picture_larger_or_much_smaller_stays_flat(fit: str, size: tuple[int, int], channels: int) -> None:
    fitted = fit_pictures(np.full((2, *size, channels), 77, np.uint8), image_size=32, fit=fit, channels=channels)
    assert fitted.shape == (2, 32, 32, channels)
    assert np.unique(fitted).tolist() == [77]


@pytest.mark.parametrize("side", [64, 61, 256, 1000])
def test_the_finest_stripes_become_grey_and_do_not_alias(side: int) -> None:
    stripes = np.zeros((1, side, side, 1), np.uint8)
    stripes[:, :, ::2] = 255
    inner = fit_pictures(stripes, image_size=32, fit="pad", channels=1)[:, :, 2:-2]
    assert np.abs(inner.astype(int) - 128).max() < 24


def test_plain_subsampling_would_alias() -> None:
    stripes = np.zeros((1, 64, 64, 1), np.uint8)
    stripes[:, :, ::2] = 255
    assert np.abs(stripes[:, ::2, ::2].astype(int) - 128).max() > 100


def test_a_wide_picture_is_cropped_to_its_middle() -> None:
    wide = np.zeros((1, 64, 192, 1), np.uint8)
    wide[:, :, 64:128] = 200
    assert fit_pictures(wide, image_size=32, fit="pad", channels=1).min() == 200


@pytest.mark.parametrize(("before", "after"), [(28, 32), (16, 32), (96, 32), (100, 64), (33, 8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_many_at_once_get_the_pixels_that_pillow_gives_each(before: int, after: int, channels: int) -> None:
    pictures = noise(4, before, before, channels)
    images = [Image.fromarray(picture[..., 0] if channels == 1 else picture) for picture in pictures]
    gap = 3.0 if before > 4 * after else None
    expected = [
        np.asarray(image.resize((after, after), Image.Resampling.BICUBIC, reducing_gap=gap)) for image in images
    ]
    fitted = fit_pictures(pictures, image_size=after, fit="resize", channels=channels)
    assert np.array_equal(fitted, np.stack(expected).reshape(4, after, after, channels))


def test_grey_is_the_luma_that_pillow_computes() -> None:
    colors = noise(2, 16, 16, 3)
    expected = np.stack([np.asarray(Image.fromarray(picture).convert("L")) for picture in colors])
    assert np.array_equal(convert_channels(colors, 1)[..., 0], expected)


def test_grey_as_color_and_back_is_unchanged() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert np.array_equal(convert_channels(convert_channels(grey, 3), 1), grey)
