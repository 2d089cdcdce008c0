"""The one reader of what people bring: what it takes a folder for, what it asks, and one answer at every door."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.arrays import ImageSet
from core.data.importing.import_set import import_set
from core.data.limits import LIMITS, OWN_LIMITS
from core.data.reader.layout import Arranged, arrange
from core.data.reader.read import PictureSet, find_set, raw_set
from core.data.reader.reading_of_set import Answers, Reading, reading_from, reading_lines
from core.errors import DataUnavailable, LabError, UsageError
from core.rules import Rules

Build = Callable[..., ImageSet]
NOTHING_SAID = Answers()
SOURCE = np.random.default_rng(0)
NOISE = SOURCE.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def tree(root: Path, files: Mapping[str, bytes]) -> Path:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def pictures(*directories: str, each: int = 3) -> dict[str, bytes]:
    return {
        f"{directory}/{place}.png": encoded(NOISE[(number * each + place) % len(NOISE)])
        for number, directory in enumerate(directories)
        for place in range(each)
    }


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def read(path: Path, *, answers: Answers = NOTHING_SAID, own: bool = True) -> Reading:
    limits = OWN_LIMITS if own else LIMITS
    found = find_set(path, answers, limits, follow=own)
    if isinstance(found, PictureSet):
        return found.reading(found.looked_at(answers))
    reading = raw_set(found, answers, limits, image_size=8, report=lambda *_: None).reading
    assert reading is not None
    return reading


def paths(*directories: str) -> list[str]:
    return [f"{directory}/{place}.png" for directory in directories for place in range(2)]


def sorted_as(found: Arranged) -> tuple[list[str], list[str]]:
    return list(found.train), list(found.heldout)


LAYOUTS: dict[str, tuple[list[str], tuple[list[str], list[str]]]] = {
    "class directories": (["rose", "tulip"], (["rose", "tulip"], [])),
    "two wrappers": (["x/flowers/rose", "x/flowers/tulip"], (["rose", "tulip"], [])),
    "below a class": (["rose/a/b", "rose/c", "tulip"], (["rose", "tulip"], [])),
    "a split": (["train/rose", "train/tulip", "test/rose"], (["rose", "tulip"], ["rose"])),
    "a split and what has no label": (
        ["train/rose", "train/tulip", "test/rose", "test/tulip", "unlabeled"],
        (["rose", "tulip"], ["rose", "tulip"]),
    ),
    "affixes and doublings": (
        ["seg_train/seg_train/sea", "seg_train/seg_train/ice", "seg_test/seg_test/sea", "seg_pred/seg_pred"],
        (["ice", "sea"], ["sea"]),
    ),
    "a name of its own in the parts": (
        ["w/cars_train/a", "w/cars_train/b", "w/cars_valid/a"],
        (["a", "b"], ["a"]),
    ),
    "parts in capitals": (["w/carsTrain/a", "w/carsTrain/b", "w/carsTest/a"], (["a", "b"], ["a"])),
    "as in ImageNet": (["i/train/n1/images", "i/train/n2/images", "i/val/images", "i/test"], (["n1", "n2"], [])),
    "one class as in ImageNet": (["i/train/n1/images", "i/val/n1/images"], (["n1"], ["n1"])),
    "three parts": (["train/a", "train/b", "valid/a", "test/b"], (["a", "b"], ["a", "b"])),
    "a train among vehicles": (["train", "car", "bus"], (["bus", "car", "train"], [])),
    "words that only contain such names": (["test tube", "train station"], (["test tube", "train station"], [])),
    "numbers": (["10", "9", "1"], (["1", "9", "10"], [])),
    "case of the test split": (["train/Cat", "train/Dog", "test/cat", "test/dog"], (["Cat", "Dog"], ["Cat", "Dog"])),
    "a single class": (["owls"], (["owls"], [])),
    "what has no label beside classes": (["a", "b", "un-labelled"], (["a", "b"], [])),
    "labeled and not": (["w/labeled/a", "w/labeled/b", "w/unlabeled"], (["a", "b"], [])),
    "nothing is labeled": (["unlabeled"], (["unlabeled"], [])),
    "a split in each class": (["a/train", "a/test", "b/train", "b/test"], (["a", "b"], ["a", "b"])),
    "a split in one class alone": (["a/train", "a/test", "b/red", "b/blue"], (["a", "b"], [])),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_a_layout_is_read_as_it_is_meant(case: str) -> None:
    directories, expected = LAYOUTS[case]
    found = arrange(paths(*directories))
    assert sorted_as(found) == expected
    assert not found.questions
    placed = sum(len(each) for part in (found.train, found.heldout) for each in part.values())
    assert placed + sum(found.left_out.values()) == 2 * len(directories), "no image goes unsaid"


ASKED: dict[str, tuple[list[str], str, str]] = {
    "parts of a split without classes": (["train", "test"], "named like parts of a split", "--split none"),
    "the same among others": (["train", "test", "validation"], "named like parts of a split", "--split none"),
    "two kinds, each in both parts": (["trainA", "trainB", "testA", "testB"], "like parts of a split", "--split none"),
    "many images in no class": (
        ["a", "b", ".", "."],
        "4 of 8 images lie in no class directory",
        "--labels-from folders",
    ),
    "a train among vehicles with directories": (
        ["train/red", "train/blue", "car/red", "car/blue"],
        "holds the directories 'train' and 'car', both with directories of images",
        "--classes 2",
    ),
}


@pytest.mark.parametrize("case", ASKED)
def test_doubt_is_a_question_that_names_its_answer_and_the_answer_ends_it(case: str) -> None:
    directories, seen, flag = ASKED[case]
    images = [path.removeprefix("./") for path in dict.fromkeys(f"{d}/{n}.png" for n, d in enumerate(directories * 2))]
    (question,) = arrange(images).questions
    error = question.as_error()
    assert error.exit_code == 2 and seen in str(error) and flag in str(error)
    option = flag.removeprefix("--").split()[0].replace("-", "_")
    assert not arrange(images, answers=Answers(**{option: flag.split()[1]})).questions


def test_answers_decide() -> None:
    images = paths("train/rose", "train/tulip", "test/rose", "dev/rose")
    assert sorted_as(arrange(images, answers=Answers(split="none"))) == (["dev", "test", "train"], [])
    only = arrange(images, answers=Answers(split="dev"))
    assert (sorted_as(only), sum(only.left_out.values())) == ((["rose", "tulip"], ["rose"]), 2)
    deep = paths("cats/siamese", "cats/persian", "dogs/poodle", "dogs/beagle")
    assert list(arrange(deep).train) == ["cats", "dogs"]
    assert "--classes 2" in arrange(deep).doubts[0]
    assert len(arrange(deep, answers=Answers(classes="2")).train) == 4
    flat = ["cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "dog.2.jpg"]
    with pytest.raises(DataUnavailable, match="--labels-from names makes 2 classes"):
        arrange(flat)
    assert list(arrange(flat, answers=Answers(labels_from="names")).train) == ["cat", "dog"]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"split": "tset"}, "there is no directory 'tset'"),
        ({"classes": "7"}, "no directory at level 7"),
        ({"labels_from": "labels.csv"}, "no table 'labels.csv'"),
    ],
)
def test_an_answer_that_does_not_fit_is_one_sentence(answers: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        arrange(paths("a/x", "b/x"), answers=Answers(**answers))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("Owl", "owl"), "in case only"),
        (("caf\u00e9", "cafe\u0301"), "in how their accents are encoded only"),
        (("Caf\u00e9", "cafe\u0301", "tea"), "in case only"),
    ],
)
def test_classes_that_look_alike_are_said(names: tuple[str, ...], words: str) -> None:
    assert any(f"differ {words}" in each for each in arrange(paths(*names)).doubts)


def test_a_folder_that_runs_were_trained_on_is_read_as_they_read_it() -> None:
    classes = arrange(paths("a", "b", "unlabeled"), rule=2)
    assert list(classes.train) == ["a", "b", "unlabeled"]
    assert arrange(paths("a/train", "a/test", "b/train", "b/test"), rule=2).heldout == {}
    assert list(arrange(paths("a", "b", "unlabeled"), answers=Answers(classes="1")).train) == [*"ab", "unlabeled"]
    assert arrange(paths("a/train", "a/test", "b/train"), answers=Answers(split="none")).heldout == {}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("flowers.tar.gz", ".gz files are not read; unpack it and give what it holds"),
        ("flowers.7z", ".7z files are not read; unpack it"),
        ("extra_32x32.mat", ".mat files are not read; save its arrays with numpy.savez"),
        ("flowers.h5", ".h5 files are not read; save its arrays"),
        ("batch.PKL", ".pkl files are not read; save its arrays"),
    ],
)
def test_files_of_other_kinds_are_named_with_what_helps(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(DataUnavailable, match=re.escape(words)):
        read(tmp_path / name)


def deep(top: int, kind: type) -> Callable[[int], bytes]:
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    form = "TIFF" if kind in (np.int32, np.float32) else "PNG"

    def make(place: int) -> bytes:
        values = np.roll(ramp, place) * top
        return encoded((values if kind is np.float32 else np.rint(values)).astype(kind), form)

    return make


@pytest.mark.parametrize(
    ("top", "kind", "words"),
    [
        (65535, np.uint16, "16 bits"),
        (4095, np.uint16, "12 bits"),
        (900, np.uint16, "10 bits"),
        (255, np.int32, "8 bits"),
        (1, np.float32, "values 0.0 to 1.0"),
        (255, np.float32, "8 bits"),
    ],
)
def test_the_range_of_the_whole_set_decides_the_bit_depth(
    top: int, kind: type, words: str, build: Build, tmp_path: Path
) -> None:
    make = deep(top, kind)
    suffix = "tiff" if kind in (np.int32, np.float32) else "png"
    root = tree(tmp_path / "set", {f"{name}/{place}.{suffix}": make(place) for name in "ab" for place in range(4)})
    dark = deep(top // 8 if top > 8 else top, kind) if kind is not np.float32 else make
    (root / "b" / f"0.{suffix}").write_bytes(dark(0))  # a dark image is no set of its own
    assert read(root).bits.startswith(words)
    found = build(name="image_folder", path=str(root), image_size=8)
    expected = 255 if top in (65535, 4095, 255, 1) else round(900 * 255 / 1023)
    assert found.train.images.max() == expected


def wide_png(pixels: np.ndarray) -> bytes:
    """A PNG with 16 bits per value: gray, gray with alpha, color, or color with alpha."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[pixels.shape[2]]

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wide_tiff(pixels: np.ndarray, planes: int = 1) -> bytes:
    """A TIFF of color with 16 bits per value, not packed."""
    tags = [(256, 4, 1, pixels.shape[1]), (257, 4, 1, pixels.shape[0]), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 14), (277, 3, 1, 3), (278, 4, 1, pixels.shape[0]), (279, 4, 1, 2 * pixels.size)]
    tags += [(284, 3, 1, planes)]
    data = pixels.astype("<u2").tobytes()
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    place = 14 + len(data)
    return struct.pack("<2sHI3H", b"II", 42, place, 16, 16, 16) + data + struct.pack("<H", 10) + directory + bytes(4)


@pytest.mark.parametrize(("top", "words"), [(65535, "16 bits"), (4095, "12 bits"), (255, "8 bits")])
@pytest.mark.parametrize(
    ("suffix", "make", "channels"),
    [("png", wide_png, 3), ("png", wide_png, 4), ("png", wide_png, 2), ("tiff", wide_tiff, 3)],
)
def test_color_of_16_bits_is_read_whole(
    suffix: str, make: Callable[[np.ndarray], bytes], channels: int, top: int, words: str, build: Build, tmp_path: Path
) -> None:
    stored = np.random.default_rng(0).integers(0, top + 1, (8, 8, 8, channels))
    stored[:, 0, 0] = top
    if channels in (2, 4):
        stored[..., -1] = 65535
    files = {f"{'ab'[place % 2]}/{place}.{suffix}": make(each) for place, each in enumerate(stored)}
    root = tree(tmp_path / "set", files)
    assert read(root).bits.startswith(words)
    built = build(name="image_folder", path=str(root), image_size=8)
    found = {each.tobytes() for split in (built.train, built.heldout) for each in split.images}
    colors = stored[..., :1] if channels == 2 else stored[..., :3]
    assert found == {each.tobytes() for each in np.rint(colors * (255 / top)).astype(np.uint8)}


def test_what_is_transparent_in_16_bits_is_black_and_planes_are_refused(build: Build, tmp_path: Path) -> None:
    half = np.full((8, 8, 4), 65535)
    half[:4, :, 3] = 0
    root = tree(tmp_path / "set", {f"{name}/{place}.png": wide_png(half) for name in "ab" for place in range(2)})
    built = build(name="image_folder", path=str(root), image_size=8)
    assert not built.train.images[:, :4].any() and (built.train.images[:, 4:] == 255).all()
    (root / "b" / "9.tif").write_bytes(wide_tiff(half[..., :3], planes=2))
    with pytest.raises(DataUnavailable, match=r"b/9\.tif: its colors lie in planes of 16 bits each"):
        read(root)


def test_a_deep_image_under_the_name_of_a_shallow_kind_counts_too(tmp_path: Path) -> None:
    files = {f"a/{name}": deep(top, np.uint16)(1) for name, top in (("1.png", 2047), ("2.jpg", 4095))}
    root = tree(tmp_path / "set", files | pictures("b"))
    found = find_set(root, Answers(), OWN_LIMITS, follow=True)
    assert read(root).bits == "12 bits (highest value 4,095)"
    assert raw_set(found, Answers(), OWN_LIMITS, image_size=8, report=lambda *_: None).reading == read(root)


def test_a_bit_depth_that_somebody_says_wins_and_one_that_cannot_be_is_refused(build: Build, tmp_path: Path) -> None:
    make = deep(900, np.uint16)
    root = tree(tmp_path / "set", {f"{name}/{place}.png": make(place) for name in "ab" for place in range(4)})
    assert build(name="image_folder", path=str(root), image_size=8, bit_depth="12").train.images.max() == 56
    with pytest.raises(UsageError, match="--bit-depth 8: the highest value is 900"):
        build(name="image_folder", path=str(root), image_size=8, bit_depth="8")


@pytest.mark.parametrize(("value", "words"), [(1, "nearly constant"), (255, "nearly constant"), (9, "nearly black")])
def test_a_set_without_contrast_is_a_question(value: int, words: str, build: Build, tmp_path: Path) -> None:
    images = np.full((8, 8, 8), value, np.uint8)
    if words == "nearly black":
        images[:, ::3] = 0
        images[:, 1::3] = 3
    if value == 1:
        images[:, ::2] = 0
    root = tree(
        tmp_path / "set", {f"{'ab'[place % 2]}/{place}.png": encoded(each) for place, each in enumerate(images)}
    )
    with pytest.raises(UsageError, match=f"the images are {words}") as caught:
        build(name="image_folder", path=str(root), image_size=8)
    assert caught.value.exit_code == 2 and "--bit-depth 8" in str(caught.value)
    assert build(name="image_folder", path=str(root), image_size=8, bit_depth="8").train.images.max() == value
    if value == 1:
        assert build(name="image_folder", path=str(root), image_size=8, bit_depth="1").train.images.max() == 255


def test_one_image_in_color_is_found_wherever_it_lies_and_said(tmp_path: Path) -> None:
    grey = np.repeat(NOISE[..., :1], 3, axis=3)
    files = {f"{'ab'[place % 2]}/{place:03}.png": encoded(grey[place % 40]) for place in range(200)}
    assert read(tree(tmp_path / "grey", files)).channels == 1
    found = read(tree(tmp_path / "color", {**files, "b/001.png": encoded(NOISE[0])}))
    assert found.channels == 3 and "'b/001.png' is in color" in found.doubts[-1]


def test_what_pillow_opens_is_read_and_the_rest_is_said_by_kind(build: Build, tmp_path: Path) -> None:
    files = pictures("cat", "dog") | {
        "cat/a.jfif": encoded(NOISE[0], "JPEG"),
        "cat/b.avif": encoded(NOISE[1], "AVIF"),
        "dog/c.jp2": encoded(NOISE[2], "JPEG2000"),
        "dog/d.heic": b"?",
        "dog/notes.txt": b"",
        "dog/.ipynb_checkpoints/0.png": encoded(NOISE[0]),
        "dog/thumbnails/0.png": encoded(NOISE[0]),
        "__MACOSX/cat/._0.png": b"?",
        "cat/Thumbs.db": b"?",
    }
    root = tree(tmp_path / "set", files)
    found = read(root)
    assert found.counts_train == (5, 4)
    assert found.left_out == {
        "hidden files and folders": 2,
        "thumbnail folders": 1,
        ".heic files": 1,
        ".txt files": 1,
        ".db files": 1,
    }
    built = build(name="image_folder", path=str(root), image_size=8)
    assert len(built.train.labels) + len(built.heldout.labels) == 9
    (root / "dog" / "c.jp2").unlink()
    for place in range(3):
        (root / "dog" / f"{place}.png").unlink()
    with pytest.raises(DataUnavailable, match="'dog' holds images of a kind that is not read"):
        read(root)


FOLDERS: dict[str, dict[str, bytes]] = {
    "a test split of thumbnails alone": pictures("train/a", "train/b", "test/thumbs"),
    "plain": pictures("a", "b"),
    "split": pictures("w/train/a", "w/train/b", "w/test/a", "w/unlabeled"),
    "asked": pictures("train", "test"),
    "flat": pictures("a"),
    "leftovers": {**pictures("a", "b"), "a/.x/9.png": encoded(NOISE[0]), "notes.md": b"", "b/thumbs/0.png": b""},
    "one is color": {
        f"{'ab'[place % 2]}/{place}.png": encoded(np.repeat(each[..., :1], 3, 2) if place else each)
        for place, each in enumerate(NOISE)
    },
}


@pytest.mark.parametrize("case", FOLDERS)
def test_every_door_gives_one_answer(case: str, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_IMPORTS", str(tmp_path / "imports"))
    root, archive = tree(tmp_path / "set", FOLDERS[case]), zipped(tmp_path / "set.zip", FOLDERS[case])

    def said(act: Callable[[], Reading | None]) -> object:
        try:
            return act()
        except LabError as error:
            return str(error).removeprefix(f"data.path: {root}: ").removeprefix("set: ").removeprefix("set.zip: ")

    answers = {
        "own folder": said(lambda: read(root)),
        "own zip": said(lambda: read(archive)),
        "to be stored": said(lambda: read(root, own=False)),
        "training": said(
            lambda: (
                raw_set(
                    find_set(root, Answers(), OWN_LIMITS, follow=True),
                    Answers(),
                    OWN_LIMITS,
                    image_size=8,
                    report=lambda *_: None,
                ).reading
            )
        ),
        "import": said(lambda: import_set(archive, name="mine").reading),
    }
    assert len({str(each) for each in answers.values()}) == 1, answers
    if isinstance(found := answers["import"], Reading):
        assert reading_from(found.written()) == found
        built = build(name="image_folder", path=str(root), image_size=8)
        stored = build(name="mine", image_size=8)
        assert built.class_names == stored.class_names and np.array_equal(built.train.images, stored.train.images)
        assert dict(reading_lines(found))["classes"].startswith(f"{len(found.class_names)}, from ")


def test_an_old_run_keeps_the_reading_of_its_folder(build: Build, color_folder: Path) -> None:
    """Hidden directories inside of a class were read, `.jfif` was not, and there was no test split."""
    plain = [build(name="image_folder", path=str(color_folder), rules=rules) for rules in (Rules(), Rules(folders=2))]
    assert plain[0].fingerprint == plain[1].fingerprint, "where nothing is in doubt both readings are the same"
    (color_folder / "red" / ".x").mkdir()
    (color_folder / "red" / ".x" / "9.png").write_bytes((color_folder / "red" / "0.png").read_bytes())
    (color_folder / "red" / "99.jfif").write_bytes(encoded(NOISE[0], "JPEG"))
    counts = [
        len(found.train.labels) + len(found.heldout.labels)
        for rules in (Rules(), Rules(folders=2, bit_depth=2))
        for found in [build(name="image_folder", path=str(color_folder), rules=rules)]
    ]
    assert counts == [37, 37]
    first, second = (
        build(name="image_folder", path=str(color_folder), rules=rules) for rules in (Rules(), Rules(folders=2))
    )
    assert first.fingerprint != second.fingerprint


def table(rows: Mapping[str, str], header: str = "file_name,label") -> bytes:
    return "\n".join([header, *(f"{file},{label}" for file, label in rows.items())]).encode()


FLAT = {f"{place}.png": encoded(NOISE[place]) for place in range(8)}
OWL_ROBIN = {name: ("owl", "robin")[int(name[0]) % 2] for name in FLAT}
TABLES: dict[str, tuple[dict[str, bytes], tuple[int, ...], tuple[int, ...]]] = {
    "one beside the images": ({**FLAT, "labels.csv": table(OWL_ROBIN, "image,class")}, (4, 4), ()),
    "of Hugging Face, with a split": (
        {
            f"{part}/{name}": data
            for part in ("train", "test")
            for name, data in {**FLAT, "metadata.csv": table(OWL_ROBIN)}.items()
        },
        (4, 4),
        (4, 4),
    ),
    "JSON lines": (
        {
            **{f"images/{name}": data for name, data in FLAT.items()},
            "metadata.jsonl": "\n".join(
                f'{{"file_name": "images/{name}", "label": "{label}"}}' for name, label in OWL_ROBIN.items()
            ).encode(),
        },
        (4, 4),
        (),
    ),
    "names without a suffix, semicolons": (
        {
            **{f"data/{name}": data for name, data in FLAT.items()},
            "labels.csv": b"id;breed\n" + b"".join(b"%d;%s\n" % (n, b"ab"[n % 2 : n % 2 + 1]) for n in range(8)),
        },
        (4, 4),
        (),
    ),
    "a table per part": (
        {
            **{f"images/{name}": data for name, data in FLAT.items()},
            "train.csv": table({name: OWL_ROBIN[name] for name in list(FLAT)[:6]}),
            "test.csv": table({name: OWL_ROBIN[name] for name in list(FLAT)[6:]}),
        },
        (3, 3),
        (1, 1),
    ),
    "a column of parts": (
        {
            **FLAT,
            "x.csv": b"path,label,split\n"
            + b"".join(b"%d.png,%d,%s\n" % (n, n % 2, b"val" if n > 5 else b"train") for n in range(8)),
        },
        (3, 3),
        (1, 1),
    ),
    "paths of Windows, suffixes in capitals": (
        {
            **{f"images/{name.replace('.png', '.PNG')}": data for name, data in FLAT.items()},
            "labels.csv": table({f"images\\{name}": label for name, label in OWL_ROBIN.items()}),
        },
        (4, 4),
        (),
    ),
    "a column per class": (
        {
            **{f"images/{name}": data for name, data in FLAT.items()},
            "truth.csv": b"image,MEL,NV\n" + b"".join(b"%d,%d.0,%d.0\n" % (n, n % 2, 1 - n % 2) for n in range(8)),
        },
        (4, 4),
        (),
    ),
    "images that it does not name": ({**FLAT, "labels.csv": table(dict(list(OWL_ROBIN.items())[:6]))}, (3, 3), ()),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_beside_the_images_gives_classes_and_split(case: str, tmp_path: Path) -> None:
    files, train, heldout = TABLES[case]
    found = read(tree(tmp_path / "set", files))
    assert (found.counts_train, found.counts_heldout) == (train, heldout)
    assert "column" in found.layout and len(found.class_names) == 2
    images = sum(name.lower().endswith(".png") for name in files)
    assert sum((*train, *heldout)) + sum(found.left_out.values()) == images, "no image goes unsaid"


def test_a_table_that_disagrees_with_the_directories_is_a_question(tmp_path: Path) -> None:
    files = pictures("a", "b", each=4)
    rows = {path: "xy"[place % 2] for place, path in enumerate(files)}
    root = tree(tmp_path / "set", {**files, "labels.csv": table(rows)})
    with pytest.raises(UsageError, match="the directories sort the images into different classes") as caught:
        read(root)
    assert "--labels-from folders" in str(caught.value) and "--labels-from labels.csv" in str(caught.value)
    assert read(root, answers=Answers(labels_from="folders")).class_names == ("a", "b")
    assert read(root, answers=Answers(labels_from="labels.csv")).class_names == ("x", "y")
    (root / "labels.csv").write_bytes(table({path: path[0].upper() for path in files}))
    assert read(root).class_names == ("a", "b"), "one that agrees is no question"
    (root / "labels.csv").write_bytes(b'\x00\xff"broken')
    assert read(root).left_out == {".csv files": 1}


def test_two_columns_that_could_be_the_class_are_a_question(tmp_path: Path) -> None:
    rows = "".join(f"{place}.png,{place % 2},{place % 4 // 2}\n" for place in range(8))
    root = tree(tmp_path / "set", {**FLAT, "x.csv": f"image,label,species\n{rows}".encode()})
    with pytest.raises(UsageError, match=r"--labels-from x\.csv:label"):
        read(root)
    assert "'species'" in read(root, answers=Answers(labels_from="x.csv:species")).layout
    with pytest.raises(UsageError, match="no column 'kind'; it has: image, label, species"):
        read(root, answers=Answers(labels_from="x.csv:kind"))


GREY = np.random.default_rng(1).integers(0, 256, (12, 8, 8), dtype=np.uint8)
CLASSES = np.arange(12) % 3


def npz(root: Path, **arrays: np.ndarray) -> Path:
    root.mkdir()
    np.savez(root / "x.npz", **arrays)  # type: ignore[arg-type]
    return root / "x.npz"


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape) + array.tobytes()


def idx_folder(root: Path) -> Path:
    return tree(
        root,
        {
            "w/train-images-idx3-ubyte.gz": gzip.compress(idx(GREY)),
            "w/train-labels-idx1-ubyte.gz": gzip.compress(idx(CLASSES.astype(np.uint8))),
            "w/t10k-images-idx3-ubyte": idx(GREY[:3]),
            "w/t10k-labels-idx1-ubyte": idx(CLASSES[:3].astype(np.uint8)),
        },
    )


def pixel_rows(images: np.ndarray, labels: np.ndarray | None) -> bytes:
    names = [*(["label"] if labels is not None else []), *(f"pixel{place}" for place in range(64))]
    columns = images.reshape(len(images), -1) if labels is None else np.column_stack([labels, images.reshape(-1, 64)])
    return "\n".join([",".join(names), *(",".join(map(str, row)) for row in columns.tolist())]).encode() + b"\n"


def faces(images: np.ndarray, labels: np.ndarray, header: str = "emotion,pixels,Usage") -> bytes:
    """As FER2013: the last three images are of its two test parts, the first of them once more without a label."""
    parts = ["Training"] * 12 + ["PublicTest", "PrivateTest", "PrivateTest"]
    rows = zip([*labels, *labels[:3]], [*images, *images[:3]], parts, strict=True)
    lines = [f"{label},{' '.join(map(str, image.ravel()))},{part}" for label, image, part in rows]
    return "\n".join([header, *lines, f",{' '.join(map(str, images[0].ravel()))},Training", ""]).encode()


def parquet(rows: list[tuple[bytes, int]], names: list[str]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    told = json.dumps({"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}})
    made = pyarrow.table(
        {
            "image": pyarrow.array([{"bytes": data, "path": None} for data, _ in rows]),
            "label": pyarrow.array([label for _, label in rows]),
        }
    ).replace_schema_metadata({"huggingface": told})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(made, buffer)
    return buffer.getvalue()


def test_a_parquet_file_with_two_columns_of_classes_asks_for_one(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    cells = [{"bytes": encoded(NOISE[place]), "path": None} for place in range(4)]
    made = pyarrow.table({"img": cells, "fine_label": [0, 1, 2, 3], "coarse_label": [0, 0, 1, 1]})
    pyarrow.parquet.write_table(made, tmp_path / "many.parquet")
    with pytest.raises(
        DataUnavailable, match=r"it has img, fine_label, coarse_label; .*--labels-from many.parquet:COL"
    ):
        read(tmp_path / "many.parquet")
    found = read(tmp_path / "many.parquet", answers=Answers(labels_from="many.parquet:coarse_label"))
    assert (found.class_names, found.counts_train) == (("0", "1"), (2, 2))
    with pytest.raises(DataUnavailable, match="has no column 'fine'; it has img"):
        read(tmp_path / "many.parquet", answers=Answers(labels_from="many.parquet:fine"))


def parquet_folder(root: Path) -> Path:
    rows = [(encoded(picture), place % 3) for place, picture in enumerate(GREY)]
    names = ["owl", "robin", "wren"]
    return tree(
        root,
        {
            "data/train-00000-of-00001.parquet": parquet(rows, names),
            "data/test-00000-of-00001.parquet": parquet(rows[:3], names),
        },
    )


ARRAYS: dict[str, tuple[Callable[[Path], Path], tuple[int, ...]]] = {
    "the lab's own names": (lambda root: npz(root, images=GREY, labels=CLASSES), ()),
    "MedMNIST": (
        lambda root: npz(
            root,
            train_images=GREY,
            train_labels=CLASSES[:, None],
            val_images=GREY[:1],
            val_labels=CLASSES[:1, None],
            test_images=GREY[1:3],
            test_labels=CLASSES[1:3, None],
        ),
        (1, 1, 1),
    ),
    "Keras": (
        lambda root: npz(root, x_train=GREY, y_train=CLASSES, x_test=GREY[:3], y_test=CLASSES[:3]),
        (1, 1, 1),
    ),
    "X and y": (lambda root: npz(root, X=GREY[..., None], y=CLASSES.astype(np.float64)), ()),
    "names of classes, 0.0 to 1.0": (
        lambda root: npz(root, data=(GREY / 255).astype(np.float32), target=np.array(["a", "b", "c"])[CLASSES]),
        (),
    ),
    "one-hot, channels first": (lambda root: npz(root, X=GREY[:, None], y=np.eye(3, dtype=int)[CLASSES]), ()),
    "16 bits": (lambda root: npz(root, images=GREY.astype(np.uint16) * 257, labels=CLASSES), ()),
    "files of NumPy": (
        lambda root: tree(
            root,
            {"X.npy": as_npy(GREY), "y.npy": as_npy(CLASSES), "x_test.npy": as_npy(GREY[:3])}
            | {"y_test.npy": as_npy(CLASSES[:3])},
        ),
        (1, 1, 1),
    ),
    "IDX files, some packed": (idx_folder, (1, 1, 1)),
    "Kaggle's pixels": (
        lambda root: tree(root, {"train.csv": pixel_rows(GREY, CLASSES), "test.csv": pixel_rows(GREY, None)}),
        (),
    ),
    "FER2013's pixels": (lambda root: tree(root, {"fer.csv": faces(GREY, CLASSES)}), (1, 1, 1)),
    "FER2013's pixels, as a file, with text": (
        lambda root: (
            tree(root, {"a.csv": faces(GREY, np.array(["no", "so", "yes"])[CLASSES], '"label", Pixels, split')})
            / "a.csv"
        ),
        (1, 1, 1),
    ),
    "Parquet": (parquet_folder, (1, 1, 1)),
    "an .npz in a folder": (lambda root: npz(root, images=GREY, labels=CLASSES).parent, ()),
}


def as_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_of_well_known_names_are_read_with_their_split(case: str, build: Build, tmp_path: Path) -> None:
    make, heldout = ARRAYS[case]
    path = make(tmp_path / "set")
    found = read(path)
    assert (found.counts_train, found.counts_heldout) == ((4, 4, 4), heldout)
    assert found == read(path, own=False)
    name = "npz" if path.suffix == ".npz" else "image_folder"
    built = build(name=name, path=str(path), image_size=8, holdout_fraction=0.25)
    given = {(picture.tobytes(), place % 3) for place, picture in enumerate(GREY)}
    assert {
        (picture.tobytes(), int(label))
        for split in (built.train, built.heldout)
        for picture, label in zip(split.images, split.labels, strict=True)
    } == given
    if "Parquet" in case:
        assert found.class_names == ("owl", "robin", "wren")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pictures_of_cats": GREY}, "there is no array 'images'; there are 'pictures_of_cats'; names that are known"),
        ({"x_train": GREY}, "there is no array 'labels' for 'x_train'"),
        ({"X": GREY, "images": GREY, "y": CLASSES}, "'X' and 'images' could both be the images"),
        ({"X": GREY, "y": np.ones((12, 3), int)}, "give an image several classes"),
        ({"X": GREY - np.float32(300), "y": CLASSES}, "its pixels go down to -"),
        ({"X": GREY * np.float32(np.nan), "y": CLASSES}, "its pixels are not all numbers"),
        ({"x_test": GREY, "y_test": CLASSES}, "it holds a test split alone"),
        ({"X": GREY // 200, "y": CLASSES}, "the images are nearly constant"),
    ],
)
def test_arrays_in_doubt_are_one_sentence(arrays: dict[str, np.ndarray], words: str, tmp_path: Path) -> None:
    with pytest.raises(LabError, match=words):
        read(npz(tmp_path / "set", **arrays))


def test_damaged_files_of_arrays_are_one_sentence(tmp_path: Path) -> None:
    idx_root = idx_folder(tmp_path / "idx")
    (idx_root / "w" / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(10**7)))
    with pytest.raises(DataUnavailable, match=r"is not an IDX file of bytes|would unpack to more"):
        read(idx_root)
    parquet_root = parquet_folder(tmp_path / "parquet")
    (parquet_root / "data" / "test-00000-of-00001.parquet").write_bytes(b"PAR1?PAR1")
    with pytest.raises(DataUnavailable, match="is not a readable Parquet file"):
        read(parquet_root)
    with pytest.raises(DataUnavailable, match="is not a table of numbers"):
        read(tree(tmp_path / "csv", {"x.csv": pixel_rows(GREY, CLASSES).replace(b"\n1,", b"\n1,x")}))
    for planted, words in ((b"\n1,x", "line 3 .*'x"), (b"\n1,7 ", "line 3 .65 pixels"), (b"\n1,300 ", "line 3 .* 300")):
        with pytest.raises(DataUnavailable, match=f"'y.csv' is not a table of pixels: {words}"):
            read(tree(tmp_path / "faces", {"y.csv": faces(GREY, CLASSES).replace(b"\n1,", planted, 1)}))
