"""Pictures of every kind come out as the same uint8 arrays; a bad one is named in one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.data.arrays import ImageSet
from core.data.decoding import read_header, read_picture
from core.errors import DataUnavailable, UsageError

Build = Callable[..., ImageSet]
RAMP = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))


def ramp_of(mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(RAMP.astype(np.uint16) * 257)
    return Image.fromarray(RAMP).convert("RGBA" if mode == "RGBA" else "L").convert(mode)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "I;16"])
def test_a_grey_folder_of_any_mode_has_one_channel(build: Build, tmp_path: Path, mode: str) -> None:
    (tmp_path / "modes" / "a").mkdir(parents=True)
    ramp_of(mode).save(tmp_path / "modes" / "a" / "0.png")
    ramp_of(mode).save(tmp_path / "modes" / "a" / "1.png")
    found = build(name="image_folder", path=str(tmp_path / "modes"))
    assert found.channels == 1
    column = found.train.images[0, 16, :, 0].astype(int)
    assert column[2] < 60 and column[-2] > 200


def test_one_colored_picture_makes_a_small_folder_colored(build: Build, tmp_path: Path) -> None:
    (tmp_path / "modes" / "a").mkdir(parents=True)
    ramp_of("L").save(tmp_path / "modes" / "a" / "0.png")
    Image.new("RGB", (32, 32), (200, 0, 0)).save(tmp_path / "modes" / "a" / "1.png")
    found = build(name="image_folder", path=str(tmp_path / "modes"))
    assert found.channels == 3


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp_of("I;16").save(tmp_path / "deep.png")
    assert np.array_equal(read_picture(tmp_path / "deep.png")[..., 0], RAMP)


def test_transparent_parts_are_black_like_the_border(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 255, 255, 0)).save(tmp_path / "clear.png")
    assert read_picture(tmp_path / "clear.png").max() == 0


def test_a_palette_with_a_transparent_color_is_black_there(tmp_path: Path) -> None:
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.save(tmp_path / "palette.png", transparency=1)
    assert read_picture(tmp_path / "palette.png").max() == 0


def test_a_photo_that_lies_on_its_side_is_put_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "side.jpg", exif=exif)
    assert read_picture(tmp_path / "side.jpg").shape == (40, 20, 3)


def test_a_large_jpeg_is_read_smaller_but_large_enough(tmp_path: Path) -> None:
    Image.new("RGB", (1600, 1200), (10, 200, 30)).save(tmp_path / "large.jpg")
    pixels = read_picture(tmp_path / "large.jpg", at_least=32)
    assert 64 <= pixels.shape[0] < 1200
    assert np.abs(pixels.astype(int) - [10, 200, 30]).max() < 6


def test_the_mode_is_read_from_the_header_alone(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(tmp_path / "cut.png")
    os.truncate(tmp_path / "cut.png", 500)
    assert read_header(tmp_path / "cut.png").mode == "L"


def test_classes_and_pictures_are_in_natural_order(build: Build, tmp_path: Path) -> None:
    for name in ("10", "9", "1"):
        (tmp_path / "natural" / name).mkdir(parents=True)
        Image.new("L", (8, 8), int(name)).save(tmp_path / "natural" / name / "0.png")
        Image.new("L", (8, 8), int(name)).save(tmp_path / "natural" / name / "1.png")
    found = build(name="image_folder", path=str(tmp_path / "natural"), image_size=8)
    assert found.class_names == ("1", "9", "10")
    assert found.train.images[:, 0, 0, 0].tolist() == [1, 9, 10]


def test_other_files_and_hidden_directories_are_left_out(build: Build, color_folder: Path) -> None:
    (color_folder / ".thumbnails").mkdir()
    (color_folder / "__MACOSX").mkdir()
    (color_folder / "red" / "notes.txt").write_text("no image")
    (color_folder / "red" / ".hidden.png").write_bytes(b"no picture")
    (color_folder / "README.md").write_text("about")
    assert build(name="image_folder", path=str(color_folder)).class_names == ("blue", "green", "red")


def test_pictures_in_directories_below_a_class_belong_to_it(build: Build, color_folder: Path) -> None:
    (color_folder / "red" / "more").mkdir()
    Image.new("RGB", (30, 30), (200, 0, 0)).save(color_folder / "red" / "more" / "a.PNG")
    found = build(name="image_folder", path=str(color_folder))
    assert len(found.train.labels) + len(found.heldout.labels) == 37


def test_a_class_name_that_is_no_text_can_be_printed(build: Build, color_folder: Path) -> None:
    os.rename(os.fsencode(color_folder / "red"), os.fsencode(color_folder) + b"/r\xff")
    names = build(name="image_folder", path=str(color_folder)).class_names
    assert [name.encode() for name in names] == [b"blue", b"green", b"r?"]


def empty_class(root: Path) -> None:
    (root / "yellow").mkdir()


def corrupt(root: Path) -> None:
    (root / "red" / "0.png").write_bytes(b"not a picture")


def truncated(root: Path) -> None:
    os.truncate(root / "red" / "11.png", 300)


def empty_file(root: Path) -> None:
    (root / "red" / "0.png").write_bytes(b"")


def bomb(root: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(root / "red" / "0.png")


def large(root: Path) -> None:
    Image.new("1", (9_000, 8_000)).save(root / "red" / "0.png")


def below_zero(root: Path) -> None:
    Image.fromarray(np.full((8, 8), -1, np.float32)).save(root / "red" / "0.tiff")


def no_numbers(root: Path) -> None:
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(root / "red" / "0.tiff")


def no_classes(root: Path) -> None:
    for name in ("blue", "green", "red"):
        (root / name).rename(root / f".{name}")


def splits_inside(root: Path) -> None:
    (root / "blue").rename(root / "train")
    (root / "green").rename(root / "test")
    (root / "red").rename(root / ".red")


def one_picture(root: Path) -> None:
    no_classes(root)
    (root / "one").mkdir()
    Image.new("L", (8, 8)).save(root / "one" / "0.png")


def a_pipe(root: Path) -> None:
    os.mkfifo(root / "red" / "12.png")  # the lab waited for a writer for ever


def a_pipe_below(root: Path) -> None:
    (root / "red" / "more").mkdir()
    os.mkfifo(root / "red" / "pipe")
    (root / "red" / "more" / "link.jpg").symlink_to(root / "red" / "pipe")


def gone(root: Path) -> None:
    root.rename(root.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (empty_class, "the class 'yellow' has no images; fill or remove it"),
        (corrupt, "red/0.png: not an image that can be read"),
        (empty_file, "red/0.png: not an image that can be read"),
        (truncated, "red/11.png: damaged image"),
        (bomb, "red/0.png: it has more than 64,000,000 pixels"),
        (large, "red/0.png: 9000 × 8000 pixels are more than 64,000,000"),
        (below_zero, "its pixels go down to -1"),
        (no_numbers, "red/0.tiff: its pixels are not all numbers"),
        (no_classes, "there are no images in it; it needs one directory per class, with images inside"),
        (splits_inside, "holds the directories 'test' and 'train', named like parts of a split"),
        (one_picture, "1 image is too few"),
        (a_pipe, "red/12.png: not an ordinary file"),
        (a_pipe_below, "red/more/link.jpg: not an ordinary file"),
        (gone, "there is no folder"),
    ],
)
def test_a_bad_folder_is_one_sentence_and_leaves_nothing(
    build: Build, tmp_path: Path, color_folder: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    damage(color_folder)
    with pytest.raises((DataUnavailable, UsageError)) as caught:
        build(name="image_folder", path=str(color_folder))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.npy"))
