from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from core.config.schema import LABEL_CHOICES, LabelChoice
from core.evaluation.labels import asked_labels, class_counts, drawn_rows
from core.evaluation.measures import Seen, fd_judge, kid, nearness

EVEN, TEN_TO_ONE = (3000, 3000, 3000), (6000, 600, 600)


def real_pictures(labels: np.ndarray, seed: int) -> torch.Tensor:
    """Features (N, 8) as a judge sees them: a cloud per class, far from the others."""
    source = np.random.default_rng(seed)
    centres = 6.0 * np.eye(8)[:3]
    return torch.from_numpy(centres[labels] + source.standard_normal((len(labels), 8)))


def seen(sizes: tuple[int, ...], labels: np.ndarray, seed: int) -> Seen:
    """Real pictures of those labels that nobody saw, beside a training split of `sizes` and a third of it held out."""
    train = np.repeat(np.arange(3), sizes)
    heldout = np.repeat(np.arange(3), np.array(sizes) // 3)
    return Seen(
        features=real_pictures(labels, seed),
        train=real_pictures(train, 1),
        heldout=real_pictures(heldout, 2),
        labels=labels,
        train_labels=train,
        heldout_labels=heldout,
        guesses=labels,
        classes=("a", "b", "c"),
        neighbours=3,
        seed=0,
    )


@pytest.mark.parametrize("sizes", [EVEN, TEN_TO_ONE])
@pytest.mark.parametrize("choice", LABEL_CHOICES)
def test_a_perfect_model_scores_the_floor(sizes: tuple[int, ...], choice: LabelChoice) -> None:
    train = np.repeat(np.arange(3), sizes)
    found = [fd_judge(seen(sizes, asked_labels(choice, train, 3, 600, 0), seed)) for seed in range(10, 14)]
    floor, spread = found[0]["fd_floor"], found[0]["fd_floor_sd"]
    distances = np.array([each["fd_judge"] for each in found])
    assert floor == pytest.approx(distances.mean(), abs=3.0 * spread)
    assert spread == pytest.approx(distances.std(ddof=1), rel=2.0)


@pytest.mark.parametrize("sizes", [EVEN, TEN_TO_ONE])
@pytest.mark.parametrize("choice", LABEL_CHOICES)
def test_a_perfect_model_scores_the_floor_of_every_other_measure(sizes: tuple[int, ...], choice: LabelChoice) -> None:
    train = np.repeat(np.arange(3), sizes)
    looks = [seen(sizes, asked_labels(choice, train, 3, 600, 0), seed) for seed in range(10, 14)]
    kids = [kid(each)["kid"] for each in looks]
    assert kids[0].floor == pytest.approx(np.mean([each.value for each in kids]), abs=3.0 * kids[0].floor_sd)
    found = [nearness(each) for each in looks]
    for name, floor in (("precision", "real_precision"), ("recall", "real_recall")):
        values = [each[name] for each in found]
        assert found[0][floor] == pytest.approx(np.mean(values), abs=3.0 * np.sqrt(0.25 / 600)), name
    for name in ("clipped_density", "clipped_coverage"):
        values = [each[name].value for each in found]
        assert found[0][name].floor == pytest.approx(np.mean(values), abs=3.0 * np.sqrt(0.25 / 600)), name


def test_class_balance_was_part_of_the_distance() -> None:
    train = np.repeat(np.arange(3), TEN_TO_ONE)
    alike, balanced = (
        fd_judge(seen(TEN_TO_ONE, asked_labels(choice, train, 3, 600, 0), 10)) for choice in LABEL_CHOICES
    )
    assert balanced["fd_judge"] > 20 * alike["fd_judge"]
    assert balanced["fd_floor"] > 20 * alike["fd_floor"]


def test_the_floor_of_few_heldout_pictures_weighs_them_as_asked() -> None:
    labels = np.repeat(np.arange(3), (200, 200, 200))
    few = seen((6000, 300, 300), labels, 10)  # 100 of the second class are held out
    found = fd_judge(few)
    assert found["fd_floor_count"] == 400
    assert found["fd_floor"] == pytest.approx(found["fd_judge"], rel=0.1)
    everything = fd_judge(seen(EVEN, np.repeat(np.arange(3), (1000, 1000, 1000)), 10))
    assert (everything["fd_floor_count"], everything["fd_floor_sd"]) == (3000, None)


@pytest.mark.parametrize(
    ("shares", "count", "expected"),
    [
        ((1, 1, 1), 10, [4, 3, 3]),
        ((10, 1), 11, [10, 1]),
        ((10, 1), 5, [5, 0]),
        ((0.1, 0.2, 0.7), 10, [1, 2, 7]),
        ((5, 0, 5), 3, [2, 0, 1]),
        ((3, 3, 3), 0, [0, 0, 0]),
    ],
)
def test_counts_are_the_shares_by_largest_remainder(shares: tuple[float, ...], count: int, expected: list[int]) -> None:
    assert class_counts(shares, count).tolist() == expected


def test_labels_have_the_shares_of_the_reference_at_every_beginning() -> None:
    reference = np.repeat(np.arange(4), (400, 300, 200, 100))
    labels = asked_labels("proportions", reference, 4, 1000, 3)
    assert np.bincount(labels).tolist() == [400, 300, 200, 100]
    for count in (10, 100, 500):
        assert np.abs(np.bincount(labels[:count], minlength=4) - count * np.array([0.4, 0.3, 0.2, 0.1])).max() <= 1
    assert not np.array_equal(labels, asked_labels("proportions", reference, 4, 1000, 4))
    assert np.array_equal(labels, asked_labels("proportions", reference, 4, 1000, 3))
    assert asked_labels("balanced", reference, 4, 7, 3).tolist() == [0, 1, 2, 3, 0, 1, 2]


def test_rows_are_drawn_by_class_and_never_twice() -> None:
    labels = np.array([0, 1, 0, 1, 0, 1, 0, 2])
    rows = drawn_rows(labels, np.array([2, 5, 1]), 0, "a")
    assert labels[rows].tolist() == [0, 0, 1, 1, 1, 2]
    assert len(set(rows.tolist())) == len(rows)
    chosen = [tuple(drawn_rows(labels, np.array([2, 0, 0]), seed, "a")) for seed in range(20)]
    assert any(first != second for first, second in pairwise(chosen))
