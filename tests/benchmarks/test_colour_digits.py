"""The colour dataset that is made here: repeatable, legible, and what it says it is."""

from __future__ import annotations

import numpy as np

from benchmarks.colour_digits import CONTRAST, SIDE, colour, luminance, paint, patch, photographs


def digits(count: int) -> np.ndarray:
    """A bright bar on black, as a digit would be."""
    drawn = np.zeros((count, SIDE, SIDE, 1), dtype=np.uint8)
    drawn[:, 8:24, 14:18] = 255
    return drawn


def test_a_picture_depends_on_the_seed_and_its_place_only() -> None:
    few, many = paint(digits(2), seed=3), paint(digits(4), seed=3)
    assert few.shape == (2, SIDE, SIDE, 3)
    assert (few == many[:2]).all()
    assert not (paint(digits(2), seed=4) == few).all()


def test_a_digit_has_one_colour_that_stands_out_from_its_patch() -> None:
    photos = photographs()
    for seed in range(20):
        behind = patch(np.random.default_rng(seed), photos)
        ink = colour(np.random.default_rng(seed), behind)
        assert abs(luminance(ink) - luminance(behind).mean()) >= CONTRAST
    picture = paint(digits(1), seed=0)[0]
    assert len(np.unique(picture[8:24, 14:18].reshape(-1, 3), axis=0)) == 1


def test_outside_the_digit_it_is_the_photograph() -> None:
    picture = paint(digits(1), seed=5)[0]
    bare = np.rint(patch(np.random.default_rng((5, 0)), photographs())).astype(np.uint8)
    outside = digits(1)[0, ..., 0] == 0
    assert (picture[outside] == bare[outside]).all()
