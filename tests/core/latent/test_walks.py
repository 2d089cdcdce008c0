from __future__ import annotations

import numpy as np
import pytest

from core.latent.inspection.walks import (
    channel_offsets,
    class_means,
    direction_offsets,
    lerp,
    nearest,
    share_of_same_class,
    slerp,
    walk,
)


def two_latents(scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(0)
    first, second = source.standard_normal((2, 4, 3, 3))
    return first / np.linalg.norm(first), scale * second / np.linalg.norm(second)


def test_a_spherical_walk_keeps_the_norm():
    steps = walk(*two_latents(), 9, "spherical")
    assert np.linalg.norm(steps.reshape(9, -1), axis=1) == pytest.approx(np.ones(9), abs=1e-6)


def test_a_spherical_walk_turns_by_equal_angles():
    steps = walk(*two_latents(), 9, "spherical").reshape(9, -1)
    angles = np.arccos((steps[:-1] * steps[1:]).sum(axis=1))
    assert angles == pytest.approx(np.full(8, angles.sum() / 8), abs=1e-4)


def test_a_spherical_walk_between_unequal_norms_goes_evenly_from_one_to_the_other():
    steps = walk(*two_latents(scale=3.0), 5, "spherical").reshape(5, -1)
    assert np.linalg.norm(steps, axis=1) == pytest.approx([1.0, 1.5, 2.0, 2.5, 3.0], abs=1e-5)


def test_a_straight_walk_is_shorter_in_the_middle_of_two_right_angles():
    start, end = np.eye(4)[0].reshape(4, 1, 1), np.eye(4)[1].reshape(4, 1, 1)
    assert np.linalg.norm(walk(start, end, 3, "linear")[1]) == pytest.approx(2**-0.5)
    assert walk(start, end, 3, "spherical")[1].ravel() == pytest.approx([2**-0.5, 2**-0.5, 0, 0], abs=1e-6)


@pytest.mark.parametrize("route", ["linear", "spherical"])
def test_both_ends_of_a_walk_are_exactly_as_given(route):
    start, end = (each.astype(np.float32) for each in two_latents(scale=2.0))
    steps = walk(start, end, 7, route)
    assert np.array_equal(steps[0], start) and np.array_equal(steps[-1], end)


@pytest.mark.parametrize("end", [np.full(4, 2.0), np.full(4, -1.0), np.zeros(4)])
def test_without_a_single_great_circle_the_walk_is_straight(end):
    assert slerp(np.ones(4), end, 0.25) == pytest.approx(lerp(np.ones(4), end, 0.25))


def test_class_means_are_those_of_numpy_and_an_empty_class_is_zero():
    latents = np.random.default_rng(0).standard_normal((10, 2, 2, 2)).astype(np.float32)
    labels = np.array([0, 0, 0, 2, 2, 2, 2, 2, 2, 2])
    means = class_means(latents, labels, 3)
    assert means[0] == pytest.approx(latents[:3].mean(axis=0))
    assert means[2] == pytest.approx(latents[3:].mean(axis=0), abs=1e-6)
    assert not means[1].any()


def test_a_channel_is_moved_everywhere_and_no_other():
    offsets = channel_offsets((3, 2, 2), np.array([-2.0, 0.0, 1.0]))
    assert offsets.shape == (3, 3, 3, 2, 2)
    assert (offsets[0, 1, 1] == -2.0).all() and not offsets[0, 1, [0, 2]].any() and not offsets[1].any()


def test_a_direction_is_moved_by_its_own_spread():
    directions = np.eye(8)[[0, 5]]
    offsets = direction_offsets(directions, np.array([3.0, 0.5]), np.array([2.0]), (2, 2, 2)).reshape(1, 2, 8)
    assert offsets[0, 0] == pytest.approx(6.0 * directions[0]) and offsets[0, 1] == pytest.approx(directions[1])


def test_nearest_agrees_with_a_direct_computation_and_leaves_itself_out():
    latents = np.random.default_rng(1).standard_normal((30, 2, 3, 3)).astype(np.float32)
    indices, distances = nearest(latents, 4, 5)
    direct = np.array([np.sqrt(((each - latents[4]) ** 2).sum()) for each in latents])
    assert list(indices) == [each for each in np.argsort(direct) if each != 4][:5]
    assert distances == pytest.approx(direct[indices], abs=1e-5)
    assert share_of_same_class(np.array([0] * 15 + [1] * 15), 4, np.array([0, 1, 20, 21])) == 0.5
