"""The nearest training picture, against a plain search over all."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.data.arrays import Split
from core.errors import UsageError
from core.evaluation import nearest as nearest_module
from core.evaluation.metrics import nearest
from core.evaluation.nearest import heldout_distances, nearest_pictures
from tests.core.evaluation.conftest import toy_set


def plain_search(pictures: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    differences = pictures[:, None].astype(float) - references[None]
    distances = np.sqrt((differences**2).mean(axis=(2, 3, 4)))
    return distances.argmin(axis=1), distances.min(axis=1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("block_bytes", [1, 700, 2**20])
def test_it_is_the_nearest_of_all_whatever_the_blocks(
    channels: int, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest_module, "BLOCK_BYTES", block_bytes)
    found = toy_set(channels=channels)
    places, distances = plain_search(found.heldout.images, found.train.images)
    seen = nearest_pictures(found.heldout.images, found.train)
    np.testing.assert_array_equal(seen.indices, places)
    np.testing.assert_allclose(seen.distances, distances)
    assert seen.every == 1


def test_a_copy_is_found_at_distance_0() -> None:
    found = toy_set()
    seen = nearest_pictures(found.train.images[[41, 7]], found.train)
    assert seen.indices.tolist() == [41, 7] and seen.distances.tolist() == [0.0, 0.0]


def test_of_a_large_split_one_in_so_many_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    found = toy_set()  # 60 pictures of 64 bytes
    monkeypatch.setattr(nearest_module, "MOST_BYTES", 64 * 25)
    seen = nearest_pictures(found.heldout.images, found.train)
    places, distances = plain_search(found.heldout.images, found.train.images[::3])
    assert seen.every == 3
    np.testing.assert_array_equal(seen.indices, places * 3)
    np.testing.assert_allclose(seen.distances, distances)


def test_held_out_pictures_are_measured_class_by_class() -> None:
    found = toy_set()
    real = heldout_distances(found, 1)
    _, distances = plain_search(found.heldout.images[found.heldout.labels == 1], found.train.images)
    np.testing.assert_allclose(real, np.sort(distances))
    assert len(heldout_distances(found, 99)) == 0


def test_pictures_of_another_size_and_a_cancelled_search_are_one_sentence() -> None:
    found = toy_set()
    with pytest.raises(UsageError, match="4 × 8 × 1 given, the 60 training images are 8 × 8 × 1"):
        nearest_pictures(found.heldout.images[:, :4], found.train)
    with pytest.raises(UsageError, match="0 training images"):
        nearest_pictures(found.heldout.images, Split(images=found.train.images[:0], labels=found.train.labels[:0]))
    with pytest.raises(UsageError, match="cancelled"):
        nearest_pictures(found.heldout.images, found.train, should_stop=lambda: True)


def test_the_first_of_equally_near_ones_is_taken_across_blocks() -> None:
    twice = torch.tensor([[1.0, 0.0], [5.0, 5.0], [1.0, 0.0]])
    distances, places = nearest(torch.tensor([[0.0, 0.0]]), twice.split(1))
    assert (distances.tolist(), places.tolist()) == ([1.0], [0])
