"""Batch k is the same whoever asks first, and every picture comes once an epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.data.arrays import Split
from core.data.batches import Batches, ResidentSplit, images_to_model, on_device

SPLIT = Split(
    images=np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8),
    labels=np.arange(10, dtype=np.int64),
)


def order(batches: Batches, count: int) -> np.ndarray:
    steps = -(-count // batches.batch_size)
    return np.concatenate([batches.indices(step) for step in range(steps)])[:count]


@pytest.mark.parametrize("batch_size", [1, 3, 10, 25])
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_every_picture_comes_once_an_epoch(batch_size: int, epoch: int) -> None:
    chosen = order(Batches(SPLIT, batch_size=batch_size, seed=0), 30)
    assert sorted(chosen[10 * epoch : 10 * epoch + 10]) == list(range(10))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10, 25])
def test_the_order_does_not_depend_on_the_batch_size(batch_size: int) -> None:
    reference = order(Batches(SPLIT, batch_size=2, seed=0), 50)
    assert np.array_equal(order(Batches(SPLIT, batch_size=batch_size, seed=0), 50), reference)


@pytest.mark.parametrize("steps", [[8, 7, 6, 5, 4, 3, 2, 1, 0], [2, 2, 7, 0, 7], [8]])
def test_a_batch_is_the_same_in_whatever_order_it_is_asked_for(steps: list[int]) -> None:
    forward = Batches(SPLIT, batch_size=4, seed=0)
    expected = [forward.indices(step).tolist() for step in range(9)]
    asked = Batches(SPLIT, batch_size=4, seed=0)
    assert [asked.indices(step).tolist() for step in steps] == [expected[step] for step in steps]


def test_indices_are_int64_of_the_batch_size() -> None:
    chosen = Batches(SPLIT, batch_size=25, seed=0).indices(10**9)
    assert chosen.dtype == np.int64 and chosen.shape == (25,)


@pytest.mark.parametrize(("seed", "purpose", "step"), [(1, "order", 0), (0, "other", 0), (0, "order", 1)])
def test_seeds_purposes_and_epochs_have_orders_of_their_own(seed: int, purpose: str, step: int) -> None:
    first = Batches(SPLIT, batch_size=10, seed=0).indices(0)
    assert not np.array_equal(Batches(SPLIT, batch_size=10, seed=seed, purpose=purpose).indices(step), first)


def test_the_order_of_a_seed_never_changes_between_versions() -> None:
    assert Batches(SPLIT, batch_size=10, seed=0).indices(0).tolist() == [7, 5, 2, 9, 4, 0, 3, 8, 6, 1]


def test_gathering_gives_the_pictures_between_minus_one_and_one() -> None:
    images, labels = on_device(SPLIT, "cpu").gather(np.array([3, 3, 7]))
    assert images.shape == (3, 3, 8, 8) and images.dtype == torch.float32 and images.is_contiguous()
    assert labels.tolist() == [3, 3, 7] and labels.dtype == torch.int64
    expected = torch.from_numpy(SPLIT.images[7].astype(np.float32)).permute(2, 0, 1) / 127.5 - 1
    assert torch.equal(images[2], expected)


@pytest.mark.filterwarnings("error")
def test_gathering_from_a_read_only_memory_map_copies(tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    np.save(path, SPLIT.images)
    labels = SPLIT.labels.copy()
    labels.setflags(write=False)
    images, _ = on_device(Split(images=np.load(path, mmap_mode="r"), labels=labels), "cpu").gather(np.array([1, 0]))
    images.fill_(0.0)
    assert np.array_equal(np.load(path), SPLIT.images)


def test_the_ends_of_the_range_are_exact() -> None:
    ends = images_to_model(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    assert ends.flatten().tolist() == [-1.0, 1.0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("fits", [True, False])
def test_a_gpu_gathers_what_the_cpu_gathers(fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fits:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 0))
    resident = ResidentSplit(SPLIT, torch.device("cuda"))
    assert (resident.on_gpu is not None) == fits
    chosen = np.array([9, 0, 0, 4])
    images, labels = resident.gather(chosen)
    expected, expected_labels = on_device(SPLIT, "cpu").gather(chosen)
    assert images.device.type == labels.device.type == "cuda"
    torch.testing.assert_close(images.cpu(), expected, rtol=0, atol=1e-6)  # a GPU divides in its own way
    assert torch.equal(labels.cpu(), expected_labels)
