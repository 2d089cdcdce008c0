"""Every figure of an overview against a direct computation on a small known set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.config.schema import DataSettings
from core.data import duplicates, overview
from core.data.duplicates import NEAR_RMS, digests_of, find_duplicates, near_pairs, squeezed
from core.data.overview import Overview, describe, described_folder, open_overview, overview_folder, overview_of
from core.data.raw import RawSet, RawSplit, array_split
from core.errors import DataUnavailable

SOURCE = np.random.default_rng(0)
TRAIN = SOURCE.integers(0, 256, (30, 12, 12, 3), dtype=np.uint8)
HELDOUT = SOURCE.integers(0, 256, (10, 12, 12, 3), dtype=np.uint8)
LABELS, HELD_LABELS = np.arange(30) % 3, np.arange(10) % 2


def planted() -> tuple[np.ndarray, np.ndarray]:
    """Train 3 repeats 0 (same label), 4 repeats 0 (another label); held-out 2 is train 5; held-out 3 repeats 2."""
    train, heldout = TRAIN.copy(), HELDOUT.copy()
    train[3] = train[4] = train[0]
    heldout[2] = heldout[3] = train[5]
    train[10] = np.clip(train[11].astype(int) + 2, 0, 255)  # near: two grey values brighter
    heldout[7] = np.clip(train[12].astype(int) + 2, 0, 255)
    return train, heldout


@pytest.fixture
def found() -> Overview:
    train, heldout = planted()
    raw = RawSet(
        train=array_split(train, LABELS), heldout=array_split(heldout, HELD_LABELS), class_names=("a", "b", "c")
    )
    return overview_of(raw, name="x", title="X", holdout_fraction=0.1)


def test_counts_are_those_of_the_labels(found: Overview) -> None:
    assert found.counts_train.tolist() == [10, 10, 10]
    assert found.counts_heldout.tolist() == [5, 5, 0]
    assert found.has_own_heldout


def test_values_are_a_histogram_of_the_training_pixels(found: Overview) -> None:
    train, _ = planted()
    for channel in range(3):
        assert np.array_equal(found.values[channel], np.histogram(train[..., channel], np.arange(257))[0])
    assert found.mean == pytest.approx(train.reshape(-1, 3).mean(axis=0))
    assert found.deviation == pytest.approx(train.reshape(-1, 3).std(axis=0))


def test_exact_copies_are_counted_by_split_and_label(found: Overview) -> None:
    copies = found.duplicates
    assert (copies.within_train, copies.within_heldout) == (2, 1)
    assert copies.across == 2  # held-out 2 and 3 are both train picture 5
    # one group holds labels 0, 0, 1; the other 2 (train 5), 0 (held-out 2) and 1 (held-out 3)
    assert copies.conflicts == 6


def test_near_copies_are_counted_apart_from_exact_ones(found: Overview) -> None:
    copies = found.duplicates
    assert (copies.near_train, copies.near_across, copies.searched) == (2, 1, 40)
    kinds = {(kind, tuple(pair)) for kind, pair in zip(copies.pair_kinds, copies.pairs.tolist(), strict=True)}
    assert ("near", (10, 11)) in kinds and ("near across", (12, 37)) in kinds


def test_pictures_of_a_pair_are_the_two_and_have_their_labels(found: Overview) -> None:
    train, heldout = planted()
    both, labels = np.concatenate([train, heldout]), np.concatenate([LABELS, HELD_LABELS])
    assert np.array_equal(found.pair_pictures, both[found.duplicates.pairs])
    assert np.array_equal(found.pair_labels, labels[found.duplicates.pairs])


def test_the_gallery_holds_training_pictures_of_its_class(found: Overview) -> None:
    train, _ = planted()
    assert found.are_native and found.gallery.shape == (3, 10, 12, 12, 3)
    for label in range(3):
        members = {picture.tobytes() for picture in train[label == LABELS]}
        assert {picture.tobytes() for picture in found.gallery[label]} == members


def test_a_set_of_mixed_sizes_and_colours_has_square_thumbnails() -> None:
    pictures = [np.full((20, 30, 1), 9, np.uint8), np.full((100, 100, 3), 200, np.uint8), TRAIN[0], TRAIN[1]]

    def blocks(indices: np.ndarray):  # type: ignore[no-untyped-def]
        for index in indices:
            yield pictures[index][None]

    split = RawSplit(labels=np.array([0, 0, 1, 1]), channels=3, blocks=blocks)
    found = overview_of(
        RawSet(train=split, heldout=None, class_names=("a", "b")), name="x", title="", holdout_fraction=0.5
    )
    assert not found.are_native and found.gallery.shape[2:] == (64, 64, 3)
    assert found.gallery_counts.tolist() == [1, 1]
    assert sorted(map(tuple, found.sizes.tolist())) == [(12, 12, 2), (20, 30, 1), (100, 100, 1)]
    assert found.sizes[0].tolist() == [12, 12, 2]
    assert found.values.sum() % 3 == 0 and not found.has_own_heldout


def test_squeezing_keeps_the_mean_of_each_cell() -> None:
    block = SOURCE.integers(0, 256, (2, 32, 48, 1), dtype=np.uint8)
    direct = block[..., 0].reshape(2, 16, 2, 16, 3).mean(axis=(2, 4))
    assert squeezed(block) == pytest.approx(direct.reshape(2, 256), abs=1e-3)
    assert squeezed(np.full((1, 7, 5, 1), 80, np.uint8)) == pytest.approx(np.full((1, 256), 80.0), abs=1e-3)


@pytest.mark.parametrize("copies", [0, 5, 200])
def test_near_pairs_are_those_of_every_pair_compared(copies: int) -> None:
    vectors = SOURCE.normal(100, 40, (600, 256)).astype(np.float32)
    vectors[: 2 * copies : 2] = vectors[1 : 2 * copies + 1 : 2] + SOURCE.normal(0, NEAR_RMS, (copies, 256))
    difference = np.sqrt(((vectors[:, None] - vectors[None]) ** 2).mean(axis=2))
    direct = {(i, j) for i, j in zip(*np.nonzero(difference <= NEAR_RMS), strict=True) if i < j}
    assert set(map(tuple, near_pairs(vectors).tolist())) == direct
    assert len(direct) >= copies // 4


def test_many_pictures_that_are_all_alike_are_still_all_found() -> None:
    vectors = np.full((3000, 256), 50, np.float32) + SOURCE.normal(0, 0.5, (3000, 256)).astype(np.float32)
    assert len(np.unique(near_pairs(vectors))) == 3000


def test_more_pictures_than_are_searched_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MOST", 20)
    found = find_duplicates(digests_of(TRAIN), squeezed(TRAIN), LABELS, 25)
    assert found.searched == 20


def test_pictures_of_another_size_have_another_hash() -> None:
    assert digests_of(np.zeros((1, 2, 8, 1), np.uint8)) != digests_of(np.zeros((1, 8, 2, 1), np.uint8))


@pytest.mark.slow
def test_an_overview_is_kept_and_made_again_when_the_source_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "x.npz", images=TRAIN, labels=LABELS)
    settings = DataSettings(name="npz", path=str(tmp_path / "x.npz"))
    places = {"data_dir": tmp_path / "data", "cache_dir": tmp_path / "cache"}

    def kept_now() -> Overview | None:
        return open_overview(overview_folder(settings, **places))

    assert kept_now() is None
    made = describe(settings, **places)  # in the process that reads data.path
    kept = kept_now()
    assert kept is not None
    for name in overview.ARRAYS:
        assert np.array_equal(getattr(made, name), getattr(kept, name))
    assert kept.title == "x.npz" and kept.duplicates.pair_kinds == made.duplicates.pair_kinds
    (overview_folder(settings, **places) / "arrays.npz").write_bytes(b"damage")
    assert kept_now() is None
    assert (made_again := open_overview(described_folder(settings, **places))) and made_again.title == "x.npz"
    np.savez(tmp_path / "x.npz", images=TRAIN[:20], labels=LABELS[:20])
    assert kept_now() is None


def test_the_cache_of_overviews_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "KEPT", 2)
    for place in range(4):
        np.savez(tmp_path / f"{place}.npz", images=TRAIN, labels=LABELS)
        settings = DataSettings(name="npz", path=str(tmp_path / f"{place}.npz"))
        described_folder(settings, data_dir=tmp_path, cache_dir=tmp_path / "cache")
    assert len(list((tmp_path / "cache" / "overviews").iterdir())) == 2


def test_a_set_that_is_not_here_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match="'cifar10' is not in"):
        overview_folder(DataSettings(name="cifar10", download=False), data_dir=tmp_path, cache_dir=tmp_path)


def test_a_folder_of_pictures_gives_the_sizes_of_its_files(tmp_path: Path) -> None:
    for name, size in (("a", (900, 600)), ("b", (40, 30))):
        (tmp_path / "f" / name).mkdir(parents=True)
        for place in range(2):
            Image.effect_noise(size, 90 + place).save(tmp_path / "f" / name / f"{place}.jpg")
    settings = DataSettings(name="image_folder", path=str(tmp_path / "f"), holdout_fraction=0.5)
    found = open_overview(described_folder(settings, data_dir=tmp_path, cache_dir=tmp_path / "cache"))
    assert found is not None
    assert sorted(map(tuple, found.sizes.tolist())) == [(30, 40, 2), (600, 900, 2)]
