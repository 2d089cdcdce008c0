"""Every kind of dataset becomes the same kind of arrays; what is wrong is one sentence and leaves nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data import arrays
from core.data.array_files import ArrayWriter
from core.data.arrays import ImageSet, open_image_set
from core.data.loaders import DigitsLoader
from core.data.raw import RawSet
from core.errors import ConfigError, DataUnavailable, LabError, StorageFull

Build = Callable[..., ImageSet]


def rows(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


def cache_of(tmp_path: Path) -> Path:
    return next((tmp_path / "cache" / "arrays").iterdir())


def test_digits_are_there_offline(build: Build) -> None:
    digits = build(name="digits")
    assert digits.train.images.shape[1:] == (32, 32, 1)
    assert digits.train.images.dtype == np.uint8 and digits.train.labels.dtype == np.int64
    assert (digits.num_classes, digits.channels, digits.image_size) == (10, 1, 32)
    assert len(digits.train.labels) + len(digits.heldout.labels) == 1797
    assert digits.train.images[:, :8].max() > 200, "an 8 × 8 digit is enlarged, not lost in a border"


def test_arrays_are_memory_mapped_and_cannot_be_changed(build: Build) -> None:
    digits = build(name="digits")
    assert isinstance(digits.train.images, np.memmap)
    assert not (digits.train.images.flags.writeable or digits.heldout.labels.flags.writeable)


def test_held_out_pictures_are_never_in_train(build: Build, color_folder: Path) -> None:
    shapes = build(name="image_folder", path=str(color_folder))
    assert len(rows(shapes.train.images)) + len(rows(shapes.heldout.images)) == 36
    assert not rows(shapes.train.images) & rows(shapes.heldout.images)
    assert np.bincount(shapes.heldout.labels).tolist() == [1, 1, 1]


def test_a_planted_leak_is_seen(build: Build, color_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "holdout_indices", lambda labels, *_, **__: (np.arange(36), np.array([3, 20])))
    shapes = build(name="image_folder", path=str(color_folder))
    assert rows(shapes.train.images) & rows(shapes.heldout.images)


def test_train_limit_leaves_the_held_out_pictures_alone(build: Build) -> None:
    everything, limited = build(name="digits"), build(name="digits", train_limit=64)
    assert len(limited.train.labels) == 64
    assert np.array_equal(limited.heldout.images, everything.heldout.images)
    assert rows(limited.train.images) <= rows(everything.train.images)
    assert limited.fingerprint != everything.fingerprint


def test_another_seed_holds_out_other_pictures(build: Build) -> None:
    assert build(name="digits", seed=0).fingerprint != build(name="digits", seed=1).fingerprint


def test_real_mnist_is_padded_by_two_pixels_and_nothing_is_written_beside_it(build: Build, mnist_dir: Path) -> None:
    before = sorted((str(path), path.stat().st_mtime_ns) for path in [mnist_dir, *mnist_dir.rglob("*")])
    mnist = build(name="mnist", data_dir=mnist_dir, download=True)
    assert mnist.train.images.shape == (60_000, 32, 32, 1)
    assert mnist.heldout.images.shape == (10_000, 32, 32, 1)
    assert mnist.train.images[:, :2].max() == mnist.train.images[:, :, 30:].max() == 0
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(mnist.heldout.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert before == sorted((str(path), path.stat().st_mtime_ns) for path in [mnist_dir, *mnist_dir.rglob("*")])
    assert build(name="mnist", data_dir=mnist_dir, seed=7).fingerprint == mnist.fingerprint


def test_resized_mnist_fills_the_picture(build: Build, mnist_dir: Path) -> None:
    padded = build(name="mnist", data_dir=mnist_dir, train_limit=200)
    resized = build(name="mnist", data_dir=mnist_dir, train_limit=200, fit="resize")
    assert np.array_equal(padded.train.labels, resized.train.labels)
    assert resized.train.images.mean() > 1.2 * padded.train.images.mean()


def test_color_folder_keeps_color_and_names(build: Build, color_folder: Path) -> None:
    shapes = build(name="image_folder", path=str(color_folder), image_size=16, holdout_fraction=0.25)
    assert (shapes.title, shapes.class_names) == ("shapes", ("blue", "green", "red"))
    assert shapes.train.images.shape == (27, 16, 16, 3)
    means = shapes.heldout.images.mean(axis=(1, 2))
    assert [2 - int(label) for label in shapes.heldout.labels] == means.argmax(axis=1).tolist()


@pytest.mark.parametrize(("color", "channels"), [("gray", 1), ("rgb", 3), ("native", 3)])
def test_color_setting_decides_the_channels(build: Build, color_folder: Path, color: str, channels: int) -> None:
    assert build(name="image_folder", path=str(color_folder), color=color).channels == channels


def test_a_changed_folder_is_another_data_set(build: Build, color_folder: Path) -> None:
    before = build(name="image_folder", path=str(color_folder))
    Image.new("RGB", (40, 40), (0, 0, 255)).save(color_folder / "blue" / "new.png")
    after = build(name="image_folder", path=str(color_folder))
    assert before.fingerprint != after.fingerprint
    assert len(after.train.labels) + len(after.heldout.labels) == 37


def test_a_picture_replaced_by_one_of_the_same_name_is_noticed(build: Build, color_folder: Path) -> None:
    before = build(name="image_folder", path=str(color_folder))
    Image.new("RGB", (40, 40), (0, 0, 255)).save(color_folder / "blue" / "3.png")
    assert build(name="image_folder", path=str(color_folder)).fingerprint != before.fingerprint


def test_a_copied_folder_has_the_same_fingerprint(build: Build, color_folder: Path, tmp_path: Path) -> None:
    before = build(name="image_folder", path=str(color_folder))
    shutil.copytree(color_folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert build(name="image_folder", path=str(tmp_path / "copy")).fingerprint == before.fingerprint


def test_renamed_classes_are_another_data_set(build: Build, color_folder: Path) -> None:
    before = build(name="image_folder", path=str(color_folder))
    (color_folder / "blue").rename(color_folder / "azure")
    assert build(name="image_folder", path=str(color_folder)).fingerprint != before.fingerprint


def test_the_second_time_comes_from_the_cache(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(name="digits")
    monkeypatch.setattr(DigitsLoader, "load", lambda *_: pytest.fail("built again"))
    assert build(name="digits").fingerprint == first.fingerprint


def test_progress_ends_at_one(build: Build) -> None:
    told: list[tuple[str, float]] = []
    build(name="digits", report=lambda stage, fraction: told.append((stage, fraction)))
    assert told[0] == ("reading digits", 0.0)
    assert told[-1] == ("preparing digits", 1.0)


def truncate(path: Path) -> None:
    os.truncate(path, 100)


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-2] ^= 255
    path.write_bytes(data)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [truncate, flip_a_byte, remove])
@pytest.mark.parametrize("file", ["set.json", "train_images.npy", "heldout_labels.npy"])
def test_a_damaged_cache_is_built_again(
    build: Build, tmp_path: Path, file: str, damage: Callable[[Path], None]
) -> None:
    before = build(name="digits")
    pixels = np.array(before.train.images)
    damage(cache_of(tmp_path) / file)
    after = build(name="digits")
    assert after.fingerprint == before.fingerprint
    assert np.array_equal(after.train.images, pixels)
    assert [path.name[:7] for path in (tmp_path / "cache" / "arrays").iterdir()] == ["digits-"]


@pytest.mark.parametrize("damage", [truncate, flip_a_byte, remove])
def test_opening_a_damaged_entry_says_so(build: Build, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    build(name="digits")
    damage(cache_of(tmp_path) / "train_images.npy")
    with pytest.raises(DataUnavailable, match="damaged arrays"):
        open_image_set(cache_of(tmp_path))


def test_an_altered_class_name_in_the_cache_is_noticed(build: Build, tmp_path: Path) -> None:
    build(name="digits")
    facts = json.loads((cache_of(tmp_path) / "set.json").read_text())
    facts["class_names"][0] = "zero"
    (cache_of(tmp_path) / "set.json").write_text(json.dumps(facts))
    assert build(name="digits").class_names[0] == "0"


def test_a_copied_cache_is_believed_after_its_contents_were_checked(build: Build, tmp_path: Path) -> None:
    before = build(name="digits")
    shutil.copytree(cache_of(tmp_path), tmp_path / "elsewhere", copy_function=shutil.copyfile)
    assert open_image_set(tmp_path / "elsewhere").fingerprint == before.fingerprint


def test_builders_at_the_same_time_agree_and_leave_one_entry(build: Build, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: build(name="digits"), range(4)))
    assert len({image_set.fingerprint for image_set in found}) == 1
    assert [path.name[:7] for path in (tmp_path / "cache" / "arrays").iterdir()] == ["digits-"]


def test_a_dead_builders_leftovers_are_cleared_away_after_a_day(build: Build, tmp_path: Path) -> None:
    old, young = (tmp_path / "cache" / "arrays" / name for name in (".tmp-old", ".tmp-young"))
    old.mkdir(parents=True)
    young.mkdir()
    os.utime(old, (0, 0))
    build(name="digits")
    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [(errno.ENOSPC, StorageFull, "disk full"), (errno.EACCES, LabError, "site.cache: cannot write")],
)
def test_a_cache_that_cannot_be_written_is_one_sentence_and_leaves_nothing(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[LabError], sentence: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(ArrayWriter, "write", fail)
    with pytest.raises(kind, match=sentence):
        build(name="digits")
    assert list((tmp_path / "cache" / "arrays").iterdir()) == []


def test_too_little_space_is_known_before_anything_is_written(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 99, 1))  # type: ignore[attr-defined]
    with pytest.raises(StorageFull, match="free some space"):
        build(name="digits")
    assert not (tmp_path / "cache").exists()


def test_a_missing_set_says_where_it_looked_and_what_is_there(build: Build, tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable) as caught:
        build(name="kmnist")
    assert str(caught.value) == (
        f"data.name: 'kmnist' is not in {tmp_path / 'data'} and data.download is off; there now: digits; "
        "to download it, run: python -m core data kmnist --download"
    )
    assert not (tmp_path / "data").exists() and not (tmp_path / "cache").exists()


def test_an_unknown_set_names_the_likely_one(build: Build) -> None:
    with pytest.raises(ConfigError, match="did you mean mnist"):
        build(name="mnits")


@pytest.mark.parametrize("name", ["image_folder", "npz"])
def test_a_set_of_your_own_needs_a_path(build: Build, name: str) -> None:
    with pytest.raises(ConfigError, match="needs a path"):
        build(name=name)


def test_a_relative_path_does_not_depend_on_where_you_stand(
    build: Build, color_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataUnavailable, match="there is no folder or file /"):
        build(name="image_folder", path=color_folder.name)


def test_a_loader_with_labels_out_of_range_is_refused(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.data.loaders import DigitsLoader
    from core.data.raw import array_split

    split = array_split(np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 2, 3]))
    wrong = RawSet(train=split, heldout=None, class_names=("a", "b", "c"))
    monkeypatch.setattr(DigitsLoader, "load", lambda *_: wrong)
    with pytest.raises(DataUnavailable, match="labels must be 0 to 2, got 0 to 3"):
        build(name="digits")
