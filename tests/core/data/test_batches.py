"""Batch k is the same whoever asks first, and every picture comes once an epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.data.arrays import Split
from core.data.batches import Batches, images_to_model, on_device

SPLIT = Split(
    images=np.random.default_rng(0).integers(0, 256, (10, 8, 8, 1), dtype=np.uint8),
    labels=np.arange(10, dtype=np.int64),
)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 25])
def test_every_picture_comes_once_an_epoch(batch_size: int) -> None:
    batches = Batches(SPLIT, batch_size=batch_size, seed=0)
    order = np.concatenate([batches.indices(step) for step in range(30)])[:30]
    assert all(sorted(order[start : start + 10]) == list(range(10)) for start in (0, 10, 20)[: len(order) // 10])


def test_a_batch_is_the_same_in_whatever_order_it_is_asked_for() -> None:
    forward = Batches(SPLIT, batch_size=4, seed=0)
    expected = [forward.indices(step).tolist() for step in range(9)]
    backward = Batches(SPLIT, batch_size=4, seed=0)
    assert [backward.indices(step).tolist() for step in reversed(range(9))] == expected[::-1]


def test_epochs_and_seeds_differ() -> None:
    batches = Batches(SPLIT, batch_size=10, seed=0)
    assert batches.indices(0).tolist() != batches.indices(1).tolist()
    assert batches.indices(0).tolist() != Batches(SPLIT, batch_size=10, seed=1).indices(0).tolist()


def test_gathering_gives_the_pictures_between_minus_one_and_one() -> None:
    images, labels = on_device(SPLIT, "cpu").gather(np.array([3, 3, 7]))
    assert images.shape == (3, 1, 8, 8) and images.dtype == torch.float32
    assert labels.tolist() == [3, 3, 7]
    assert torch.equal(images[2, 0], torch.from_numpy(SPLIT.images[7, ..., 0].astype(np.float32)) / 127.5 - 1)


def test_the_ends_of_the_range_are_exact() -> None:
    ends = images_to_model(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    assert ends.flatten().tolist() == [-1.0, 1.0]
