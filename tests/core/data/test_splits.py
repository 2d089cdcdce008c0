"""What is held out is never trained on, every class gives its share, and the choice is fixed."""

from __future__ import annotations

import numpy as np
import pytest

from core.data.splits import MOST_VALIDATION, holdout_indices, limited_indices, validation_indices
from core.errors import DataUnavailable

LABELS = np.repeat([0, 1, 2], [100, 40, 7])


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.89])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_train_and_held_out_are_disjoint_and_complete(fraction: float, seed: int) -> None:
    train, heldout = holdout_indices(LABELS, fraction, seed)
    assert sorted([*train, *heldout]) == list(range(147))
    assert len(np.intersect1d(train, heldout)) == 0
    assert set(LABELS[train]) == set(LABELS[heldout]) == {0, 1, 2}


def test_every_class_gives_its_share() -> None:
    _, heldout = holdout_indices(LABELS, 0.1, 0)
    assert np.bincount(LABELS[heldout]).tolist() == [10, 4, 1]


def test_a_class_of_one_keeps_its_picture_for_training() -> None:
    train, heldout = holdout_indices(np.array([0, 1, 1]), 0.5, 0)
    assert 0 in train and len(heldout) == 1


def test_the_choice_depends_on_the_seed_alone() -> None:
    assert np.array_equal(holdout_indices(LABELS, 0.1, 5)[1], holdout_indices(LABELS, 0.1, 5)[1])
    assert not np.array_equal(holdout_indices(LABELS, 0.1, 5)[1], holdout_indices(LABELS, 0.1, 6)[1])


def test_classes_of_one_picture_each_cannot_be_held_out() -> None:
    with pytest.raises(DataUnavailable, match="no class has two images"):
        holdout_indices(np.array([0, 1, 2]), 0.1, 0)


@pytest.mark.parametrize(("limit", "count"), [(None, 147), (16, 16), (147, 147), (1000, 147)])
def test_train_limit_takes_a_fixed_random_part(limit: int | None, count: int) -> None:
    chosen = limited_indices(np.arange(147), limit, 0)
    assert len(np.unique(chosen)) == count
    assert np.array_equal(chosen, limited_indices(np.arange(147), limit, 0))


def test_a_limited_choice_is_not_just_the_first_ones() -> None:
    assert limited_indices(np.arange(147), 16, 0).max() > 16


def test_a_twelfth_of_each_class_validates_and_a_class_of_two_gives_none() -> None:
    labels = np.repeat([0, 1, 2, 3], [120, 36, 3, 2])
    chosen = validation_indices(labels, rule=2)
    assert np.bincount(labels[chosen], minlength=4).tolist() == [10, 3, 1, 0]
    assert np.array_equal(chosen, np.unique(chosen))
    assert not len(validation_indices(labels, rule=1))


def test_of_a_large_set_not_more_than_needed_validate() -> None:
    assert len(validation_indices(np.repeat(np.arange(10), 50_000), rule=2)) == MOST_VALIDATION
