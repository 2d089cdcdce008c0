from __future__ import annotations

import numpy as np
import pytest
import torch

from core.evaluation.differences import normal_interval, paired_difference, unpaired_difference
from core.evaluation.intervals import halves, standard_error
from core.evaluation.measures import endless_distance, endless_error, fd_difference_error, fd_error
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


def test_the_standard_error_of_the_endless_distance_is_the_spread_over_draws() -> None:
    labels = np.zeros(480, dtype=np.int64)
    found = [endless_distance(REFERENCE, drawn(seed, 480), labels) for seed in range(200)]
    errors = [endless_error(REFERENCE, drawn(seed, 480), labels) for seed in range(20)]
    assert np.mean(errors) == pytest.approx(np.std(found, ddof=1), rel=0.15)
    assert np.mean(errors) > 1.1 * np.mean([fd_error(REFERENCE, drawn(seed, 480), labels) for seed in range(20)])


def test_a_normal_interval_is_1_96_standard_errors_to_each_side() -> None:
    assert normal_interval(1.0, 0.1) == pytest.approx((0.804, 1.196), abs=1e-4)


@pytest.mark.parametrize(("count", "factor"), [(95, 2.0), (96, 1.0)])
def test_few_images_get_twice_the_error(count: int, factor: float) -> None:
    images, labels = drawn(5, count), np.zeros(count, dtype=np.int64)
    plain = standard_error(lambda places: REFERENCE.influence(images[torch.from_numpy(places)]), labels)
    assert fd_error(REFERENCE, images, labels) == pytest.approx(factor * plain)


def test_the_difference_of_pairs_is_known_better_than_that_of_strangers() -> None:
    labels = np.zeros(240, dtype=np.int64)
    same = drawn(7)
    paired = fd_difference_error(REFERENCE, same + 0.05 * drawn(8), same, labels)
    strange = fd_difference_error(REFERENCE, drawn(9), same, labels)
    assert paired < 0.3 * strange
    assert fd_difference_error(REFERENCE, same, same.clone(), labels) == 0.0


def test_the_paired_difference_is_the_published_formula() -> None:
    first = np.repeat([True, True, False, False], (60, 15, 5, 20))
    second = np.repeat([True, False, True, False], (60, 15, 5, 20))
    value, error = paired_difference(first, second)
    gained, lost = 16 / 102, 6 / 102
    assert value == pytest.approx(gained - lost)
    assert error == pytest.approx(((gained + lost - (gained - lost) ** 2) / 102) ** 0.5)


def test_the_intervals_of_differences_hold_the_truth_about_as_often_as_they_say() -> None:
    source = np.random.default_rng(0)
    hits = np.zeros(2)
    for _ in range(400):
        chance, other = source.random(200), source.random(200)
        for place, (value, error) in enumerate(
            (
                paired_difference(chance < 0.9, (chance > 0.05) & (chance < 0.93)),
                unpaired_difference((int((chance < 0.9).sum()), 200), (int((other < 0.88).sum()), 200)),
            )
        ):
            low, high = normal_interval(value, error)
            hits[place] += low <= 0.9 - 0.88 <= high
    assert min(hits) / 400 >= 0.92 and max(hits) / 400 <= 0.99
