from __future__ import annotations

import numpy as np
import pytest

from core.errors import UsageError
from core.latent.inspection.probe import linear_probe


def groups(distance: float, count: int = 240) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(0)
    labels = np.arange(count) % 3
    centres = np.eye(3)[labels] * distance
    noise = source.standard_normal((count, 8))
    noise[:, :3] += centres
    return noise.reshape(count, 2, 2, 2).astype(np.float32), labels


def test_a_linear_probe_separates_what_a_plane_separates():
    inputs, labels = groups(20.0)
    found = linear_probe(inputs[:120], labels[:120], inputs[120:], labels[120:])
    assert (found.accuracy, found.num_inputs, found.converged) == (1.0, 8, True)


def test_a_linear_probe_finds_nothing_where_nothing_is():
    inputs, labels = groups(0.0)
    found = linear_probe(inputs[:120], labels[:120], inputs[120:], labels[120:])
    assert 0.2 < found.accuracy < 0.48  # a third, within about 3 standard errors


def test_a_class_inside_another_is_not_linear():
    source = np.random.default_rng(0)
    points = source.standard_normal((400, 2))
    labels = (np.linalg.norm(points, axis=1) > np.median(np.linalg.norm(points, axis=1))).astype(int)
    assert linear_probe(points[:200], labels[:200], points[200:], labels[200:]).accuracy < 0.62


def test_units_and_numbers_that_never_vary_make_no_difference():
    inputs, labels = groups(2.0)
    flat = inputs.reshape(len(inputs), -1)
    other = np.concatenate([flat * 1000 + 7, np.full((len(flat), 1), 3.0)], axis=1)
    first = linear_probe(flat[:120], labels[:120], flat[120:], labels[120:])
    assert linear_probe(other[:120], labels[:120], other[120:], labels[120:]).correct == first.correct


@pytest.mark.parametrize(
    ("train", "labels", "test"),
    [
        (np.zeros((9, 2)), np.arange(9), np.zeros((1, 2))),
        (np.zeros((20, 2)), np.zeros(20), np.zeros((1, 2))),
        (np.zeros((20, 2)), np.arange(20), np.zeros((0, 2))),
    ],
    ids=["too few", "one class", "nothing to test"],
)
def test_what_no_probe_can_learn_from_is_refused_in_a_sentence(train, labels, test):
    with pytest.raises(UsageError, match="the linear probe needs"):
        linear_probe(train, labels, test, np.zeros(len(test)))
