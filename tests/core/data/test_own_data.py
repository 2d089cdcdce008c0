"""data.path is read by a limited process: the same arrays, errors of the same kind, and what never ends there ends."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import reading
from core.config.schema import DataSettings
from core.data import own_data
from core.data.arrays import ImageSet, open_image_set, prepare
from core.data.limits import OWN_LIMITS, ReadLimits
from core.errors import ConfigError, DataUnavailable, LabError, StorageFull
from core.limited_child import RESULT, Measured, problem_of, run_limited, status_bytes, write_outcome

Build = Callable[..., ImageSet]
MB = 2**20
SMALL = replace(OWN_LIMITS, memory_bytes=190 * MB)


def own(path: Path, name: str = "npz", image_size: int = 8) -> DataSettings:
    return DataSettings(name=name, path=str(path), image_size=image_size, fit="pad", download=False)


def read(tmp_path: Path, settings: DataSettings, limits: ReadLimits) -> tuple[ImageSet, Measured]:
    """Through the process, and what that took."""
    took: list[Measured] = []
    request = own_data.request_of(
        "arrays", settings, data_dir=tmp_path / "data", cache_dir=tmp_path / "cache", limits=limits
    )
    return open_image_set(Path(own_data.read(request, measured=took.append))), took[0]


@pytest.mark.slow
def test_the_process_makes_the_very_arrays_that_this_one_would(
    build: Build, color_folder: Path, tmp_path: Path
) -> None:
    told: list[tuple[str, float]] = []
    options = {"image_size": 16, "holdout_fraction": 0.25, "train_limit": 20}
    settings = DataSettings(name="image_folder", path=str(color_folder), fit="pad", **options)
    places = {"data_dir": tmp_path / "data", "cache_dir": tmp_path / "cache"}
    found = prepare(settings, seed=3, progress=lambda *words: told.append(words), **places)
    here = build(name="image_folder", path=str(color_folder), seed=3, **options)
    assert len(list((tmp_path / "cache" / "arrays").iterdir())) == 1, "the one was found by the name that the other has"
    assert found.fingerprint == here.fingerprint and found.class_names == ("blue", "green", "red")
    assert np.array_equal(found.train.images, here.train.images)
    (tmp_path / "cache").rename(tmp_path / "made by the process")
    again = build(name="image_folder", path=str(color_folder), seed=3, **options)
    assert again.fingerprint == found.fingerprint, "made here they are the same, split, order and pixels"


@pytest.mark.slow
def test_an_archive_that_unpacks_to_more_than_the_memory_is_read_with_little_of_it(tmp_path: Path) -> None:
    """13 MB took 3 GB, in the process that asked."""
    images = np.zeros((36, 2400, 2400), dtype=np.uint8)
    images[:, :, :16] = np.random.default_rng(0).integers(0, 256, (36, 2400, 16), dtype=np.uint8)
    np.savez_compressed(tmp_path / "x.npz", images=images, labels=np.arange(36) % 2)
    size, before = images.nbytes, status_bytes("self", "VmRSS")
    del images
    dark = own(tmp_path / "x.npz").model_copy(update={"bit_depth": "8"})
    found, _ = read(tmp_path, dark, SMALL)
    assert size > SMALL.memory_bytes > (tmp_path / "x.npz").stat().st_size * 30
    assert len(found.train.labels) + len(found.heldout.labels) == 36
    assert status_bytes("self", "VmRSS") - before < 20 * MB


@pytest.mark.slow
def test_a_picture_that_takes_more_than_the_memory_is_one_sentence(tmp_path: Path) -> None:
    for name, side in (("a", 5000), ("b", 8)):
        (tmp_path / "f" / name).mkdir(parents=True)
        Image.new("RGB", (side, side)).save(tmp_path / "f" / name / "1.bmp")
    with pytest.raises(DataUnavailable, match=r"^data.path: /.*/f: it needs more than 199 MB of memory to read"):
        read(tmp_path, own(tmp_path / "f", "image_folder"), SMALL)
    assert not list((tmp_path / "cache").rglob("*.npy"))


@pytest.mark.parametrize(("end", "words"), [("late", "took longer than 0 s"), ("cancelled", "was cancelled")])
def test_reading_ends_at_its_deadline_and_when_it_is_cancelled(end: str, words: str, tmp_path: Path) -> None:
    limits = replace(OWN_LIMITS, wall_s=0.0) if end == "late" else OWN_LIMITS
    request = own_data.request_of(
        "overview", own(tmp_path, "image_folder"), data_dir=tmp_path, cache_dir=tmp_path / "cache", limits=limits
    )
    with pytest.raises(DataUnavailable, match=f"^data.path: {tmp_path}: .*{words}"):
        own_data.read(request, cancelled=lambda: end == "cancelled")


def test_a_process_that_waits_for_what_never_answers_is_ended(tmp_path: Path) -> None:
    """A dead network disk, here a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "waits.py").write_text("import sys\nopen(sys.argv[1])\n")
    options = {"wall_s": 600.0, "cpu_s": 60, "what": "a pipe"}
    outcome = run_limited("waits", str(tmp_path / "pipe"), tmp_path, stall_s=1.0, **options)
    assert outcome == {"problem": "nothing could be read for 1 s", "hint": "does its disk answer?"}


@pytest.mark.parametrize("reads", ["raise OSError(28, 'No space left on device')", "return 1"])
def test_a_full_disk_is_said_also_where_not_even_the_result_can_be_written(reads: str, tmp_path: Path) -> None:
    (tmp_path / "fills.py").write_text(
        "from pathlib import Path\nfrom core.limited_child import limit_process, write_outcome\n"
        f"def read():\n    {reads}\n"
        f"limit_process(cpu_s=60, file_bytes={0 if 'return' in reads else 10**6})\n"
        "write_outcome(Path.cwd(), read, memory_bytes=1)\n"
    )
    outcome = run_limited("fills", "", tmp_path, wall_s=600.0, cpu_s=60, what="a set")
    error = problem_of(outcome, begins="data.path: x")
    assert type(error) is StorageFull and error.message == "data.path: x: the disk is full"


@pytest.mark.parametrize("kind", [StorageFull, ConfigError, DataUnavailable, LabError])
def test_an_error_of_the_process_is_the_same_here(kind: type[LabError], tmp_path: Path) -> None:
    def fails() -> None:
        raise kind("too bad", "do better")

    write_outcome(tmp_path, fails, memory_bytes=1)
    error = problem_of(reading.read_object(tmp_path / RESULT), begins="data.path: x")
    assert (type(error), str(error)) == (kind, "too bad; do better")


def a_bomb(folder: Path) -> Path:
    """A thousand times its size, and more than may be packed so."""
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", bytes(SMALL.exempt_bytes + 1))
    return folder / "bomb.zip"


def a_claim(folder: Path) -> Path:
    header = io.BytesIO()
    shape = (10**9, 32, 32)
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(100))
        archive.writestr("labels.npy", header.getvalue())
    return folder / "x.npz"


def objects(folder: Path) -> Path:
    np.savez(folder / "x.npz", images=np.array([{}] * 4), labels=np.arange(4))
    return folder / "x.npz"


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "x.npz")
    return folder / "x.npz"


def pictures(folder: Path) -> Path:
    for name in ("a", "b"):
        (folder / "root" / name).mkdir(parents=True)
        for place in range(3):
            Image.new("L", (8, 8), 60 * place).save(folder / "root" / name / f"{place}.png")
    return folder / "root"


def a_link_out(folder: Path) -> Path:
    root = pictures(folder)
    (root / "a" / "0.png").rename(folder / "0.png")
    (root / "a" / "0.png").symlink_to(folder / "0.png")
    return root


def a_class_elsewhere(folder: Path) -> Path:
    root = pictures(folder)
    (root / "a").rename(folder / "a")
    (root / "a").symlink_to(folder / "a")
    return root


HOSTILE: dict[str, tuple[str, Callable[[Path], Path], dict[str, int], str]] = {
    "zip bomb": ("npz", a_bomb, {"exempt_bytes": MB}, "would unpack to 1,0"),
    "header that claims a terabyte": ("npz", a_claim, {}, "'images' claims 1,024,000,000,000 bytes"),
    "objects": ("npz", objects, {}, "'images' holds Python objects, which are never read"),
    "pipe": ("npz", a_pipe, {}, "x.npz is a pipe"),
    "endless device": ("npz", lambda _: Path("/dev/zero"), {}, "/dev/zero is a device"),
    "file of the kernel": ("npz", lambda _: Path("/proc/self/maps"), {}, "is a file of the kernel"),
    "more files than any set has": ("image_folder", pictures, {"entries": 5}, "more than 5 files and directories"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_path_is_one_sentence_and_leaves_nothing(case: str, build: Build, tmp_path: Path) -> None:
    name, make, limits, words = HOSTILE[case]
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataUnavailable) as caught:
        build(name=name, path=str(path), limits=replace(SMALL, **limits))  # type: ignore[arg-type]
    assert words in str(caught.value) and str(caught.value).startswith("data.path: ")
    assert str(caught.value).isprintable()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("make", [a_link_out, a_class_elsewhere])
def test_links_inside_of_a_folder_lead_out_of_the_roots_only_where_there_are_none(
    make: Callable[[Path], Path], build: Build, tmp_path: Path
) -> None:
    path = str(make(tmp_path))
    assert build(name="image_folder", path=path).num_classes == 2
    assert build(name="image_folder", path=path, limits=replace(SMALL, roots=(str(tmp_path),))).num_classes == 2
    with pytest.raises(DataUnavailable, match=r"leads out of site\.data_roots"):
        build(name="image_folder", path=path, limits=replace(SMALL, roots=(path,)))


@pytest.mark.slow
def test_pictures_saved_column_by_column_and_long_sorted_labels_are_read_as_ever(build: Build, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (300_000, 2, 3), dtype=np.uint8)
    labels = np.sort(np.arange(300_000) % 3)
    np.savez_compressed(tmp_path / "x.npz", images=np.asfortranarray(images), labels=labels)
    found = build(name="npz", path=str(tmp_path / "x.npz"), image_size=8, fit="resize", train_limit=16)
    np.savez(tmp_path / "y.npz", images=images, labels=labels)
    again = build(name="npz", path=str(tmp_path / "y.npz"), image_size=8, fit="resize", train_limit=16)
    assert found.fingerprint == again.fingerprint and found.class_names == ("0", "1", "2")
