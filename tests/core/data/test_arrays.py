"""Every kind of data set becomes the same kind of arrays; what is wrong is one sentence and leaves nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.arrays import ImageSet
from core.errors import ConfigError, DataUnavailable

Build = Callable[..., ImageSet]


def rows(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


def test_digits_are_there_offline(build: Build) -> None:
    digits = build(name="digits")
    assert digits.train.images.shape[1:] == (32, 32, 1)
    assert digits.train.images.dtype == np.uint8
    assert (digits.num_classes, digits.channels, digits.image_size) == (10, 1, 32)
    assert len(digits.train.labels) + len(digits.heldout.labels) == 1797
    assert digits.train.images[:, 8:24, 8:24].max() > 200, "an 8 x 8 digit is enlarged, not padded"


def test_held_out_pictures_are_never_in_train(build: Build) -> None:
    digits = build(name="digits", fit="resize")
    everything = len(rows(digits.train.images)) + len(rows(digits.heldout.images))
    assert len(rows(digits.train.images) & rows(digits.heldout.images)) == 0
    assert everything > 1700
    assert set(digits.heldout.labels) == set(range(10))


def test_a_planted_leak_would_be_seen(build: Build) -> None:
    digits = build(name="digits")
    leaked = np.concatenate([digits.train.images[:10], digits.heldout.images])
    assert rows(digits.train.images) & rows(leaked)


def test_real_mnist_is_padded_by_two_pixels_and_nothing_is_written_beside_it(build: Build, mnist_dir: Path) -> None:
    before = sorted((str(path), path.stat().st_mtime_ns) for path in mnist_dir.rglob("*"))
    mnist = build(name="mnist", data_dir=mnist_dir)
    assert mnist.train.images.shape == (60_000, 32, 32, 1)
    assert mnist.heldout.images.shape == (10_000, 32, 32, 1)
    assert mnist.train.images[:, :2].max() == mnist.train.images[:, :, 30:].max() == 0
    assert mnist.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(mnist.heldout.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert before == sorted((str(path), path.stat().st_mtime_ns) for path in mnist_dir.rglob("*"))


def test_resize_is_antialiased_and_fills_the_picture(build: Build, mnist_dir: Path) -> None:
    padded = build(name="mnist", data_dir=mnist_dir, train_limit=200)
    resized = build(name="mnist", data_dir=mnist_dir, train_limit=200, fit="resize")
    assert np.array_equal(padded.train.labels, resized.train.labels)
    assert (resized.train.images > 0).mean() > (padded.train.images > 0).mean()


def test_color_folder_keeps_color_and_names(build: Build, color_folder: Path) -> None:
    shapes = build(name="image_folder", path=str(color_folder), image_size=16, holdout_fraction=0.25)
    assert shapes.class_names == ("blue", "green", "red")
    assert shapes.train.images.shape == (27, 16, 16, 3)
    means = shapes.heldout.images.mean(axis=(1, 2))
    assert [2 - int(label) for label in shapes.heldout.labels] == means.argmax(axis=1).tolist()


@pytest.mark.parametrize(("color", "channels"), [("grey", 1), ("rgb", 3), ("native", 3)])
def test_color_setting_decides_the_channels(build: Build, color_folder: Path, color: str, channels: int) -> None:
    assert build(name="image_folder", path=str(color_folder), color=color).channels == channels


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16"])
def test_unusual_modes_are_read(build: Build, tmp_path: Path, mode: str) -> None:
    root = tmp_path / "modes"
    ramp = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for index in range(3):
            if mode == "I;16":
                picture = Image.fromarray(ramp.astype(np.uint16) * 257)
            else:
                picture = Image.fromarray(ramp).convert("RGBA" if mode == "RGBA" else "L").convert(mode)
            picture.save(root / name / f"{index}.png")
    found = build(name="image_folder", path=str(root))
    assert found.channels == 1
    column = found.train.images[0, 16, :, 0].astype(int)
    assert column[2] < 60 and column[-2] > 200


def test_a_changed_folder_is_another_data_set(build: Build, color_folder: Path) -> None:
    before = build(name="image_folder", path=str(color_folder))
    Image.new("RGB", (40, 40), (0, 0, 255)).save(color_folder / "blue" / "new.png")
    after = build(name="image_folder", path=str(color_folder))
    assert before.fingerprint != after.fingerprint
    assert len(after.train.labels) + len(after.heldout.labels) == 37


def test_npz_with_its_own_test_split(build: Build, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 28, 28), dtype=np.uint8)
    labels = np.arange(40) % 4
    np.savez(tmp_path / "set.npz", images=images, labels=labels, test_images=images[:8], test_labels=labels[:8])
    found = build(name="npz", path=str(tmp_path / "set.npz"))
    assert (len(found.train.labels), len(found.heldout.labels), found.num_classes) == (40, 8, 4)
    assert np.array_equal(found.train.images[:, 2:30, 2:30, 0], images)


def test_train_limit_is_a_fixed_choice(build: Build) -> None:
    first, second = (build(name="digits", train_limit=64) for _ in range(2))
    assert first.fingerprint == second.fingerprint
    assert len(first.train.labels) == 64


@pytest.mark.parametrize("file", ["set.json", "train_images.npy", "heldout_labels.npy"])
def test_a_damaged_cache_is_built_again(build: Build, tmp_path: Path, file: str) -> None:
    before = build(name="digits")
    folder = next((tmp_path / "cache" / "arrays").iterdir())
    os.truncate(folder / file, 100)
    after = build(name="digits")
    assert after.fingerprint == before.fingerprint
    assert after.train.images.sum() > 0
    assert len(list((tmp_path / "cache" / "arrays").iterdir())) == 1


def npz(tmp_path: Path, **arrays: object) -> str:
    np.savez(tmp_path / "bad.npz", **arrays)  # type: ignore[arg-type]
    return str(tmp_path / "bad.npz")


IMAGES = np.zeros((6, 8, 8), dtype=np.uint8)
BAD_ARRAYS = {
    "float pictures": ({"images": IMAGES.astype(float), "labels": np.zeros(6, int)}, "must be uint8"),
    "two channels": ({"images": np.zeros((6, 8, 8, 2), np.uint8), "labels": np.zeros(6, int)}, "must be uint8"),
    "labels too few": ({"images": IMAGES, "labels": np.zeros(5, int)}, "must be 6 whole numbers"),
    "labels not whole": ({"images": IMAGES, "labels": np.zeros(6)}, "must be 6 whole numbers"),
    "labels negative": ({"images": IMAGES, "labels": np.full(6, -1)}, "must be 0 or more"),
    "no labels": ({"images": IMAGES}, "has no array 'labels'"),
    "no pictures": ({"images": IMAGES[:0], "labels": np.zeros(0, int)}, "there must be some"),
    "names too few": (
        {"images": IMAGES, "labels": np.arange(6), "class_names": np.array(["a"])},
        "names 1 classes, but has the label 5",
    ),
    "pickled": ({"images": np.array([{}] * 6, dtype=object), "labels": np.zeros(6, int)}, "cannot be read as .npz"),
}


@pytest.mark.parametrize("fault", BAD_ARRAYS, ids=str)
def test_a_bad_npz_is_one_sentence_and_leaves_nothing(build: Build, tmp_path: Path, fault: str) -> None:
    arrays, sentence = BAD_ARRAYS[fault]
    with pytest.raises(DataUnavailable) as caught:
        build(name="npz", path=npz(tmp_path, **arrays))  # type: ignore[arg-type]
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.npy"))


def empty_class(root: Path) -> None:
    (root / "yellow").mkdir()


def corrupt(root: Path) -> None:
    (root / "red" / "0.png").write_bytes(b"not a picture")


def truncated(root: Path) -> None:
    os.truncate(root / "red" / "11.png", 300)


def bomb(root: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(root / "red" / "0.png")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (empty_class, "the class 'yellow' in"),
        (corrupt, "0.png: cannot be read as a picture"),
        (truncated, "11.png: cannot be read as a picture"),
        (bomb, "0.png: "),
    ],
)
def test_a_bad_folder_is_one_sentence_and_leaves_nothing(
    build: Build, tmp_path: Path, color_folder: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    damage(color_folder)
    with pytest.raises(DataUnavailable) as caught:
        build(name="image_folder", path=str(color_folder))
    assert sentence in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_a_missing_set_says_where_it_looked_and_what_is_there(build: Build, tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable) as caught:
        build(name="kmnist", download=False)
    assert str(tmp_path / "data") in str(caught.value)
    assert "there now: digits" in str(caught.value)


def test_an_unknown_set_names_the_likely_one(build: Build) -> None:
    with pytest.raises(ConfigError, match="did you mean mnist"):
        build(name="mnits")
