from __future__ import annotations

import numpy as np
import pytest
import torch

from core.evaluation.intervals import halves, normal_interval, standard_error
from core.evaluation.measures import endless_distance, fd_error
from core.evaluation.metrics import FrechetReference
from tests.core.evaluation.test_metrics import normal

REFERENCE = FrechetReference(normal(4000, 24, 1000))


def drawn(seed: int, count: int = 240, shift: float = 0.0) -> torch.Tensor:
    return normal(count, 24, seed) + shift


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_the_standard_error_is_the_spread_over_draws_near_the_floor_and_far_from_it(shift: float) -> None:
    labels = np.zeros(240, dtype=np.int64)
    found = [REFERENCE.distance(drawn(seed, shift=shift)) for seed in range(150)]
    errors = [fd_error(REFERENCE, drawn(seed, shift=shift), labels) for seed in range(20)]
    assert np.mean(errors) == pytest.approx(np.std(found, ddof=1), rel=0.2)


def test_the_influence_of_an_image_is_what_the_distance_loses_without_it() -> None:
    images = drawn(3, shift=0.2)
    without = [REFERENCE.distance(torch.cat([images[:i], images[i + 1 :]])) for i in range(30)]
    lost = 239 * (REFERENCE.distance(images) - np.array(without))
    influence = REFERENCE.influence(images)
    assert np.corrcoef(influence[:30], lost)[0, 1] > 0.99
    assert influence.mean() == pytest.approx(0.0, abs=1e-9)


def test_differences_between_chosen_classes_are_no_error() -> None:
    labels = np.arange(400) % 4
    noise = np.random.default_rng(0).standard_normal(400)
    assert standard_error(lambda places: noise[places] + 50.0 * labels[places], labels) == pytest.approx(
        standard_error(lambda places: noise[places], labels)
    )
    assert standard_error(lambda places: noise[places], labels) == pytest.approx(0.05, rel=0.1)


def test_halves_have_half_of_every_class() -> None:
    labels = np.array([0, 1, 1, 0, 2, 1, 1, 2])
    first, second = halves(labels)
    assert sorted([*first, *second]) == list(range(8))
    assert np.bincount(labels[first]).tolist() == np.bincount(labels[second]).tolist() == [1, 2, 1]


def test_the_endless_distance_is_without_the_bias_of_few_images() -> None:
    truth = 24 * 0.2**2
    found = [
        (REFERENCE.distance(images), endless_distance(REFERENCE, images, np.zeros(400, dtype=np.int64)))
        for images in (drawn(seed, 400, 0.2) for seed in range(20))
    ]
    plain, endless = np.mean(found, axis=0)
    assert abs(endless - truth) < 0.25 * abs(plain - truth)


def test_a_normal_interval_is_1_96_standard_errors_to_each_side() -> None:
    assert normal_interval(1.0, 0.1) == pytest.approx((0.804, 1.196), abs=1e-4)
