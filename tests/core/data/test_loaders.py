"""torchvision's sets differ in constructors and in their ways; stand-ins with those ways, downloads, and .npz files."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.config.schema import DataSettings
from core.data import loaders
from core.data.arrays import ImageSet
from core.data.catalog import entry, names
from core.data.loaders import TorchvisionLoader
from core.data.raw import RawSet, RawSplit
from core.errors import DataUnavailable, StorageFull

Build = Callable[..., ImageSet]
PUBLISHED = [name for name in names() if isinstance(entry(name).loader, TorchvisionLoader)]


class StandIn:
    """In the place of torchvision.datasets: every constructor gives the same data and notes how it was called."""

    def __init__(self, **fields: object) -> None:
        self.fields = fields
        self.calls: list[tuple[str, tuple[object, ...], dict[str, object]]] = []

    def __getattr__(self, name: str) -> Any:
        def construct(*args: object, **kwargs: object) -> SimpleNamespace:
            self.calls.append((name, args, kwargs))
            return SimpleNamespace(**self.fields)

        return construct


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, StandIn], RawSet]:
    def _load(name: str, datasets: StandIn) -> RawSet:
        monkeypatch.setattr(loaders, "torchvision_datasets", lambda: datasets)
        return entry(name).loader.load(DataSettings(name=name), tmp_path)

    return _load


def pictures(split: RawSplit) -> np.ndarray:
    return np.concatenate(list(split.blocks(np.arange(len(split.labels)))))


def test_emnist_letters_stand_upright_and_start_at_zero(load: Callable[..., RawSet]) -> None:
    sideways = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    datasets = StandIn(data=sideways, targets=np.array([1, 26]))
    found = load("emnist_letters", datasets)
    assert found.train.labels.tolist() == [0, 25]
    assert np.array_equal(pictures(found.train)[0, ..., 0], sideways[0].T)
    assert found.class_names[0] == "A" and len(found.class_names) == 26
    assert [call[2] for call in datasets.calls] == [
        {"split": "letters", "train": True, "download": False},
        {"split": "letters", "train": False, "download": False},
    ]


@pytest.mark.parametrize("name", ["emnist_balanced", "emnist_digits", "emnist_byclass"])
def test_other_emnist_splits_start_at_zero_already(load: Callable[..., RawSet], name: str) -> None:
    found = load(name, StandIn(data=np.zeros((2, 28, 28), np.uint8), targets=np.array([0, 9])))
    assert found.train.labels.tolist() == [0, 9]


def test_svhn_is_asked_by_split_and_turned_to_channels_last(load: Callable[..., RawSet]) -> None:
    data = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    datasets = StandIn(data=data, labels=np.array([0, 5, 9]))
    found = load("svhn", datasets)
    assert np.array_equal(pictures(found.train)[1, :, :, 2], data[1, 2])
    assert found.train.channels == 3
    assert [call[2] for call in datasets.calls] == [
        {"split": "train", "download": False},
        {"split": "test", "download": False},
    ]
    assert found.class_names == tuple("0123456789")


def test_usps_gets_class_names_and_takes_a_list_of_labels(load: Callable[..., RawSet]) -> None:
    found = load("usps", StandIn(data=np.zeros((3, 16, 16), np.uint8), targets=[0, 5, 9]))
    assert found.class_names == tuple("0123456789")
    assert found.train.labels.dtype == np.int64


def test_qmnist_keeps_the_class_of_its_extended_labels(load: Callable[..., RawSet]) -> None:
    found = load("qmnist", StandIn(data=np.zeros((2, 28, 28), np.uint8), targets=np.array([[7, 1, 2], [3, 4, 5]])))
    assert found.train.labels.tolist() == [7, 3]


def test_cifar_takes_the_names_in_its_files(load: Callable[..., RawSet]) -> None:
    datasets = StandIn(data=np.zeros((2, 32, 32, 3), np.uint8), targets=[0, 1], classes=["airplane", "automobile"])
    assert load("cifar10", datasets).class_names == ("airplane", "automobile")


def test_a_damaged_published_file_is_one_sentence(load: Callable[..., RawSet]) -> None:
    with pytest.raises(DataUnavailable) as caught:
        load("usps", StandIn())
    assert "data.name: 'usps' in" in str(caught.value) and "cannot be read (AttributeError" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_torchvision_knows_the_set_and_its_arguments(name: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    loader = entry(name).loader
    assert isinstance(loader, TorchvisionLoader)
    with pytest.raises((RuntimeError, OSError)):  # it is not there: any other error would be ours
        loader.open(datasets, str(tmp_path), True, False)


def offline(*_: object) -> None:
    raise OSError("Name or service not known\nsecond line")


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def fetched(self: TorchvisionLoader, folder: Path) -> None:
    for path in (*self.paths, "KMNIST/raw/archive.gz"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("data")


def test_a_failed_download_names_the_set_and_what_is_there_and_leaves_nothing(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorchvisionLoader, "download", offline)
    with pytest.raises(DataUnavailable) as caught:
        build(name="kmnist", download=True)
    assert str(caught.value) == (
        f"data.name: 'kmnist' is not in {tmp_path / 'data'} and could not be downloaded "
        "(OSError: Name or service not known); there now: digits; "
        "to download it, run: python -m core data kmnist --download"
    )
    assert not (tmp_path / "data").exists()


def test_a_disk_that_fills_while_downloading_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TorchvisionLoader, "download", full)
    loader = entry("kmnist").loader
    assert isinstance(loader, TorchvisionLoader)
    with pytest.raises(StorageFull, match="disk full while downloading"):
        loader.fetch(tmp_path)


def test_downloaded_files_appear_whole_and_without_their_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorchvisionLoader, "download", fetched)
    loader = entry("kmnist").loader
    assert isinstance(loader, TorchvisionLoader)
    loader.fetch(tmp_path)
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == sorted(loader.paths)
    assert [path.name for path in tmp_path.iterdir()] == ["KMNIST"]


def test_a_read_only_folder_is_left_alone_even_by_root(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TorchvisionLoader, "download", lambda *_: pytest.fail("tried to download"))
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    with pytest.raises(DataUnavailable, match=r"is not in .* and that folder is read-only"):
        build(name="kmnist", download=True, data_dir=folder)
    assert list(folder.iterdir()) == []


def test_the_sockets_patience_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float | None] = []

    def construct(*_: object, **__: object) -> None:
        seen.append(socket.getdefaulttimeout())

    monkeypatch.setattr(loaders, "torchvision_datasets", lambda: SimpleNamespace(KMNIST=construct))
    loader = entry("kmnist").loader
    assert isinstance(loader, TorchvisionLoader)
    loader.download(tmp_path)
    assert seen == [loaders.SOCKET_TIMEOUT_S] * 2
    assert socket.getdefaulttimeout() is None


IMAGES = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
LABELS = np.arange(40) % 4


def saved(tmp_path: Path, **arrays: object) -> str:
    np.savez(tmp_path / "set.npz", **arrays)  # type: ignore[arg-type]
    return str(tmp_path / "set.npz")


def test_npz_holds_out_its_own_test_pictures(build: Build, tmp_path: Path) -> None:
    path = saved(tmp_path, images=IMAGES, labels=LABELS, test_images=IMAGES[:8], test_labels=LABELS[:8])
    found = build(name="npz", path=path)
    assert (len(found.train.labels), len(found.heldout.labels), found.num_classes) == (40, 8, 4)
    assert np.array_equal(found.train.images[:, 2:30, 2:30, 0], IMAGES)


@pytest.mark.parametrize("names", [np.array(["a", "b", "c", "ü"]), np.array([b"a", b"b", b"c", "ü".encode()])])
def test_npz_without_test_pictures_holds_some_out_and_keeps_names(
    build: Build, tmp_path: Path, names: np.ndarray
) -> None:
    found = build(name="npz", path=saved(tmp_path, images=IMAGES, labels=LABELS.astype(np.uint8), class_names=names))
    assert (len(found.train.labels), len(found.heldout.labels)) == (36, 4)
    assert found.class_names == ("a", "b", "c", "ü")


def test_a_changed_npz_is_another_data_set(build: Build, tmp_path: Path) -> None:
    before = build(name="npz", path=saved(tmp_path, images=IMAGES, labels=LABELS))
    after = build(name="npz", path=saved(tmp_path, images=255 - IMAGES, labels=LABELS))
    assert before.fingerprint != after.fingerprint


BAD_ARRAYS = {
    "complex pictures": ({"images": IMAGES.astype(complex)}, "'images' must be numbers, got complex128"),
    "two channels": ({"images": np.zeros((40, 8, 8, 2), np.uint8)}, "'images' must be (N, height, width) or"),
    "flat pictures": ({"images": np.zeros((40, 784), np.uint8)}, "'images' must be (N, height, width) or"),
    "pictures without pixels": ({"images": np.zeros((40, 0, 8), np.uint8)}, "'images' must be (N, height, width) or"),
    "labels too few": ({"labels": LABELS[:5]}, "40 images but 5 labels"),
    "labels not whole": ({"labels": LABELS + 0.5}, "'labels' must be whole numbers"),
    "several labels": ({"labels": np.ones((40, 3), dtype=int)}, "give an image several classes"),
    "labels negative": ({"labels": LABELS - 1}, "'labels' must be 0 or more, got -1"),
    "labels absurd": ({"labels": LABELS + 10**12}, "'labels' must be 0 to 39, got 1000000000003"),
    "a class without pictures": ({"labels": LABELS * 2}, "class 1 ('1') has no images"),
    "no images": ({"images": IMAGES[:0], "labels": LABELS[:0]}, "'images' holds no images"),
    "one image": ({"images": IMAGES[:1], "labels": LABELS[:1]}, "1 image is too few"),
    "names too few": ({"class_names": np.array(["a", "b"])}, "'labels' must be 0 to 1, got 3"),
    "names not texts": ({"class_names": np.arange(4)}, "'class_names' must be a list of texts"),
    "test labels missing": ({"test_images": IMAGES}, "there is no array 'labels' for 'test_images'"),
    "test labels unknown": ({"test_images": IMAGES, "test_labels": LABELS + 1}, "'labels' must be 0 to 3, got 4"),
    "pickled": (
        {"images": np.array([{}] * 40, dtype=object)},
        "'images' holds Python objects, which are never read",
    ),
}


@pytest.mark.parametrize("fault", BAD_ARRAYS, ids=str)
def test_a_bad_npz_is_one_sentence_and_leaves_nothing(build: Build, tmp_path: Path, fault: str) -> None:
    arrays, sentence = BAD_ARRAYS[fault]
    with pytest.raises(DataUnavailable) as caught:
        build(name="npz", path=saved(tmp_path, **{"images": IMAGES, "labels": LABELS, **arrays}))
    assert sentence in str(caught.value) and "set.npz" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pickle" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.npy"))


def not_an_archive(path: Path) -> None:
    path.write_text("hello")


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def a_flipped_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[1000] ^= 255
    path.write_bytes(data)


def a_single_array(path: Path) -> None:
    np.save(path.with_suffix(".npy"), IMAGES)
    path.with_suffix(".npy").rename(path)


def no_file(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (not_an_archive, "not a zip archive, or a damaged one"),
        (cut_in_half, "not a zip archive, or a damaged one"),
        (a_flipped_byte, "cannot be read as .npz (BadZipFile"),
        (a_single_array, "is a single array"),
        (no_file, "there is no file"),
    ],
)
def test_a_damaged_npz_is_one_sentence(
    build: Build, tmp_path: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    path = saved(tmp_path, images=IMAGES, labels=LABELS)
    damage(Path(path))
    with pytest.raises(DataUnavailable) as caught:
        build(name="npz", path=path)
    assert sentence in str(caught.value) and path in str(caught.value)
    assert "\n" not in str(caught.value)


def idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.mark.parametrize(
    ("name", "first_label"), [("mnist", 0), ("fashion_mnist", 0), ("kmnist", 0), ("emnist_letters", 1)]
)
def test_files_of_a_read_only_folder_are_read_as_torchvision_does(
    build: Build, tmp_path: Path, name: str, first_label: int
) -> None:
    loader = entry(name).loader
    assert isinstance(loader, TorchvisionLoader)
    classes = entry(name).classes or 0
    labels = (np.arange(2 * classes) % classes + first_label).astype(np.uint8)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
    for path in loader.paths:
        idx(tmp_path / "data" / path, images if "images" in path else labels)
    for path in [*(tmp_path / "data").rglob("*"), tmp_path / "data"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = sorted(tmp_path.rglob("data/**/*"))
    found = build(name=name, download=True)
    expected = images.swapaxes(1, 2) if loader.transposed else images
    assert np.array_equal(found.train.images[:, 2:30, 2:30, 0], expected)
    theirs = loader.open(loaders.torchvision_datasets(), str(tmp_path / "data"), True, False)
    assert np.array_equal(np.asarray(theirs.data), images) and theirs.targets.tolist() == labels.tolist()
    assert found.heldout.labels.tolist() == (labels - first_label).tolist()
    assert sorted(tmp_path.rglob("data/**/*")) == before
    (tmp_path / "data").chmod(0o755)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"\1" + data[1:], lambda data: data[:9]])
def test_a_damaged_idx_file_is_one_sentence(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    loader = entry("kmnist").loader
    assert isinstance(loader, TorchvisionLoader)
    for path in loader.paths:
        idx(tmp_path / path, np.zeros((3, 28, 28) if "images" in path else 3, np.uint8))
    damaged = tmp_path / loader.paths[2]
    damaged.write_bytes(damage(damaged.read_bytes()))
    with pytest.raises(DataUnavailable) as caught:
        loader.load(DataSettings(name="kmnist"), tmp_path)
    assert "data.name: 'kmnist' in" in str(caught.value) and "cannot be read (ValueError" in str(caught.value)
