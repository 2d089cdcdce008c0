"""Imported sets: whole under their name or not at all, in the catalog for everybody, and read as they were given."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.arrays import ImageSet
from core.data.catalog import entry, is_present, names, present_names
from core.data.importing.import_set import import_set, suggested_name
from core.data.imports import imported_names, read_imported
from core.data.limits import ReadLimits
from core.errors import DataUnavailable, LabError, UsageError
from core.limited_child import Measured
from tests.endings import naming

Build = Callable[..., ImageSet]
SOURCE = np.random.default_rng(0)
PICTURES = SOURCE.integers(0, 256, (12, 16, 16), dtype=np.uint8)


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAB_IMPORTS", str(tmp_path / "imports"))
    return tmp_path / "imports"


@pytest.fixture(scope="module")
def imported_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the imports, to be copied."""
    root = tmp_path_factory.mktemp("imported")
    return import_set(npz(root / "x.npz"), name="mine", folder=root / "imports").folder


def as_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def npz(path: Path, **more: object) -> Path:
    np.savez_compressed(path, images=PICTURES, labels=np.arange(12) % 3, **more)  # type: ignore[arg-type]
    return path


def zipped(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_an_imported_set_is_in_the_catalog_and_gives_the_pixels_it_was_given(
    imports: Path, tmp_path: Path, build: Build
) -> None:
    took: list[Measured] = []
    path = npz(tmp_path / "x.npz", class_names=np.array(["x", "y", "z"]))
    found = import_set(path, name="mine", title="My set", licence="CC0", imported_by="ana", measured=took.append)
    assert (found.title, found.licence, found.imported_by, found.train_count) == ("My set", "CC0", "ana", 12)
    assert "mine" in names() and is_present("mine", tmp_path) and present_names(tmp_path) == ["digits", "mine"]
    assert entry("mine").classes == 3 and entry("mine").imported == read_imported("mine")
    built = build(name="mine", image_size=16, holdout_fraction=0.25)
    assert built.class_names == ("x", "y", "z") and built.title == "My set"
    assert len(built.train.labels) == 9 and len(built.heldout.labels) == 3
    given = {(picture.tobytes(), place % 3) for place, picture in enumerate(PICTURES)}
    assert given == {
        (picture.tobytes(), int(label))
        for split in (built.train, built.heldout)
        for picture, label in zip(split.images, split.labels, strict=True)
    }
    assert took[0].peak_bytes > 0
    assert sorted(path.name for path in imports.iterdir()) == ["mine"]


def test_a_zip_with_its_own_test_split_in_one_directory(imports: Path, tmp_path: Path, build: Build) -> None:
    entries = {
        f"flowers/{part}/{name}/{place}.png": as_png(PICTURES[place + 6 * (part == "test")])
        for part, count in (("train", 6), ("test", 2))
        for name in ("rose", "tulip 10", "tulip 9")
        for place in range(count)
    }
    found = import_set(zipped(tmp_path / "x.zip", {**entries, "flowers/README.txt": b"hello"}), name="flowers")
    assert (found.class_names, found.left_out) == (("rose", "tulip 9", "tulip 10"), 1)
    assert found.left_out_kinds == ((".txt files", 1),)
    built = build(name="flowers", image_size=16)
    assert (len(built.train.labels), len(built.heldout.labels)) == (18, 6)
    assert np.array_equal(built.heldout.images[0, ..., 0], PICTURES[6])


@pytest.mark.parametrize(("color", "channels"), [("rgb", 3), ("gray", 1), ("grey", 1)])
def test_mixed_channels_become_what_was_asked_for(
    color: str, channels: int, imports: Path, tmp_path: Path, build: Build
) -> None:
    red = np.zeros((20, 30, 3), np.uint8)
    red[..., 0] = 200
    path = zipped(tmp_path / "x.zip", {"a/1.png": as_png(red), "a/2.png": as_png(PICTURES[0]), "b/1.png": as_png(red)})
    assert import_set(path, name="mixed", color=color).channels == channels
    assert build(name="mixed", image_size=16).channels == channels


def test_a_large_picture_is_kept_reduced_and_its_own_size_is_known(imports: Path, tmp_path: Path) -> None:
    large = as_png(SOURCE.integers(0, 256, (600, 900), dtype=np.uint8))
    import_set(zipped(tmp_path / "x.zip", {"a/1.png": large, "a/2.png": as_png(PICTURES[0])}), name="large")
    raw = entry("large").loader.load(None, tmp_path)  # type: ignore[arg-type]
    assert raw.train.sizes is not None and raw.train.sizes.tolist() == [[600, 900], [16, 16]]
    assert [block.shape for block in raw.train.blocks(np.arange(2))] == [(1, 512, 768, 1), (1, 16, 16, 1)]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("My digits.ZIP", "my-digits"),
        ("flowers.npz", "flowers"),
        ("owls", "owls"),
        ("名前.zip", ""),
        ("a" * 60, "a" * 40),
    ],
)
def test_a_name_is_taken_from_the_file(file: str, name: str) -> None:
    assert suggested_name(file) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mnist", "there is already a dataset 'mnist'"),
        ("npz", "there is already a dataset 'npz'"),
        ("My Set", "'my-set' would do"),
        ("../x", "not made of small letters"),
        ("", "not made of small letters"),
    ],
)
def test_a_name_that_cannot_be_is_refused_before_anything_is_read(
    name: str, words: str, imports: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="name: ") as caught:
        import_set(tmp_path / "absent.zip", name=name)
    assert words in str(caught.value)
    assert not imports.exists()


def test_a_name_is_taken_once(imports: Path, tmp_path: Path) -> None:
    path = npz(tmp_path / "x.npz")
    import_set(path, name="mine")
    with pytest.raises(UsageError, match="already a dataset 'mine'"):
        import_set(path, name="mine")
    assert imported_names() == ["mine"]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"wall_s": 0.0}, "reading it took longer than 0 s"),
        ({"memory_bytes": 40 * 2**20}, "memory|died|cannot be read"),
        ({"total_bytes": 2000}, "more than|disk is full"),
        ({"pictures": 5}, "12 images are more than 5"),
        ({"picture_pixels": 100}, "16 × 16 pixels are more than 100"),
        ({"classes": 2}, "3 classes are more than 2"),
    ],
)
def test_a_limit_that_is_reached_is_said_and_nothing_is_left(
    limits: dict[str, float], words: str, imports: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataUnavailable, match=words):
        import_set(npz(tmp_path / "x.npz"), name="mine", limits=ReadLimits(**limits))  # type: ignore[arg-type]
    assert not imports.exists()


def test_an_import_can_be_cancelled(imports: Path, tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match="reading it was cancelled"):
        import_set(npz(tmp_path / "x.npz"), name="mine", cancelled=lambda: True)
    assert not imports.exists()


def test_an_interrupted_import_leaves_no_process_and_no_file(imports: Path, tmp_path: Path) -> None:
    def interrupt() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_set(npz(tmp_path / "x.npz"), name="mine", cancelled=interrupt)
    assert not imports.exists()
    assert naming(tmp_path) == []


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_terabyte(path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (10**11,)})
    path.write_bytes(header.getvalue() + bytes(96))


def saved(values: object) -> Callable[[Path], None]:
    return lambda path: np.save(path, np.array(values))


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "pixels cut off": ("train_pixels.bin", lambda path: os.truncate(path, 100)),
    "no pixels": ("train_pixels.bin", lambda path: os.truncate(path, 0)),
    "pixels from a pipe": ("train_pixels.bin", a_pipe),
    "facts": ("set.json", lambda path: path.write_text('{"format": 1, "title": 7}')),
    "no labels": ("train_labels.npy", lambda path: path.unlink()),
    "labels from a pipe": ("train_labels.npy", a_pipe),
    "a terabyte of labels": ("train_labels.npy", a_terabyte),
    "labels that are no numbers": ("train_labels.npy", saved(["a"] * 12)),
    "labels with fractions": ("train_labels.npy", saved([0.5] * 12)),
    "labels as one number": ("train_labels.npy", saved(3)),
    "sizes below zero": ("train_shapes.npy", saved([[-16, -16, 1]] * 12)),
    "sizes that overflow": ("train_shapes.npy", saved([[2**31, 2**31, 1]] * 4 + [[16, 16, 1]] * 8)),
    "two channels": ("train_shapes.npy", saved([[16, 8, 2]] * 12)),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_imported_set_is_one_sentence(
    case: str, imports: Path, tmp_path: Path, build: Build, imported_once: Path
) -> None:
    shutil.copytree(imported_once, imports / "mine")
    name, damage = DAMAGE[case]
    damage(imports / "mine" / name)
    words = "'mine' is not in" if case == "pixels from a pipe" else "the imported set 'mine' in .* is damaged"
    with pytest.raises(LabError, match=words) as caught:
        build(name="mine", image_size=16)
    assert str(caught.value).isprintable()


def test_an_imports_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LAB_IMPORTS", str(tmp_path / "file"))
    with pytest.raises(LabError, match=r"site\.imports: cannot write to"):
        import_set(npz(tmp_path / "x.npz"), name="mine")


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_an_import_leaves_out_is_counted_by_kind(is_zip: bool, imports: Path, tmp_path: Path) -> None:
    others = {"a/x.txt": b"", "a/y.TXT": b"", "b/.hidden": b"", "notes": b"", "b/w.<b>": b""}
    entries = {f"{name}/{place}.png": as_png(PICTURES[place]) for name in "ab" for place in range(3)} | others
    source = tmp_path / "x.zip"
    zipped(source, entries)
    if not is_zip:
        source = tmp_path / "folder"
        with zipfile.ZipFile(tmp_path / "x.zip") as archive:
            archive.extractall(source)
    found = import_set(source, name="mine")
    assert found.left_out == 5
    assert dict(found.left_out_kinds) == {
        ".txt files": 2,
        "hidden files and folders": 1,
        "files without a known suffix": 2,
    }


def test_an_import_of_an_earlier_version_has_no_kinds(imports: Path, tmp_path: Path) -> None:
    entries = {f"{name}/{place}.png": as_png(PICTURES[place]) for name in "ab" for place in range(3)}
    found = import_set(zipped(tmp_path / "x.zip", entries), name="mine")
    facts = json.loads((found.folder / "set.json").read_text())
    del facts["left_out_kinds"]
    (found.folder / "set.json").write_text(json.dumps(facts))
    assert read_imported("mine").left_out_kinds == ()
