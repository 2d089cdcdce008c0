"""Folder trees and array headers at random: a reading or one sentence, never a traceback, never two answers.

    python -m benchmarks.fuzz_folders --cases 20000

Everything happens in this process. `tests/core/data/test_fuzzed_folders.py` runs a few hundred of the same cases.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from core.data.limits import LIMITS, OWN_LIMITS
from core.data.reader.array_sets import ArrayParts
from core.data.reader.layout import arrange
from core.data.reader.read import find_set, raw_set
from core.data.reader.reading_of_set import BIT_DEPTHS, Answers, Reading
from core.errors import LabError

NAMES = st.sampled_from(
    [
        *(
            "train",
            "test",
            "val",
            "Validation",
            "seg_train",
            "cars_test",
            "unlabeled",
            "labeled",
            "images",
            "labels",
            "data",
        ),
        *("cat", "Cat", "dog", "10", "9", "thumbs", ".hidden", "__MACOSX", "a b", "ü", "train set", "test tube"),
    ]
)
FILES = st.sampled_from(
    [
        *("1.png", "2.png", "10.png", "cat.1.jpg", "dog 2.JPG", "x.jfif", "Thumbs.db", "notes.txt", "x.heic", ".x.png"),
        *("metadata.csv", "labels.csv", "train.csv", "metadata.jsonl", "train-images-idx3-ubyte", "X.npy", "y.npy"),
        *("x.npz", "t.parquet", "train-labels-idx1-ubyte.gz"),
    ]
)
PATHS = st.lists(
    st.tuples(st.lists(NAMES, max_size=4), FILES).map(lambda each: "/".join([*each[0], each[1]])), max_size=14
)
CELLS = st.lists(st.tuples(FILES, st.sampled_from(["a", "b", "1", "", "é", '"', "\x00"])), max_size=6)
HEADERS = st.sampled_from(
    ["file_name,label", "image,a,b", "image;class", "path\tlabel\tsplit", "id,label,species", "", "x,y"]
)
ANSWERS = st.builds(
    Answers,
    classes=st.sampled_from(["auto", "auto", "1", "2", "7"]),
    split=st.sampled_from(["auto", "auto", "none", "test", "val,test", "nope"]),
    labels_from=st.sampled_from(["auto", "auto", "folders", "names", "labels.csv", "metadata.csv:label", "x:y"]),
    bit_depth=st.sampled_from(BIT_DEPTHS),
)
DTYPES = st.sampled_from(["u1", "<u2", "<f4", "<f8", "<i4", "?", "<c8", "S3", "<U2", "<i8"])
SHAPES = st.lists(st.integers(0, 5), max_size=5).map(tuple)
ARRAY_NAMES = st.sampled_from(
    [
        *(
            "images",
            "labels",
            "x_train",
            "y_train",
            "X",
            "y",
            "train_images",
            "train_labels",
            "test_labels",
            "class_names",
        )
    ]
)
ARRAYS = st.dictionaries(ARRAY_NAMES, st.tuples(SHAPES, DTYPES, st.integers(0, 3)), max_size=5)


def said(path: Path, answers: Answers, *, own: bool) -> str:
    """The reading, or the sentence, as text without the names that only one door knows."""
    limits = OWN_LIMITS if own else LIMITS
    try:
        found = find_set(path, answers, limits, follow=own)
        if isinstance(found, ArrayParts):
            reading = raw_set(found, answers, limits, image_size=8).reading
        else:
            reading = found.reading(found.looked_at(answers))
            assert raw_set(found, answers, limits, image_size=8).reading == reading, "two answers"
        assert isinstance(reading, Reading)
        return str(reading)
    except LabError as error:
        assert str(error).strip() and "\n" not in str(error) and len(str(error)) < 900, repr(str(error))
        return str(error).replace("'", "")


def check_tree(paths: list[str], header: str, cells: list[tuple[str, str]], answers: Answers) -> None:
    """A folder and a zip of it, for training and to be stored: one answer."""
    table = "\n".join([header, *(f"{file},{label}" for file, label in cells)]).encode()
    files: dict[str, bytes] = {}
    for place, path in enumerate(dict.fromkeys(paths)):
        if any(path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in files):
            continue
        files[path] = content(path, place, table)
    with tempfile.TemporaryDirectory(prefix="lab-fuzz-") as folder:
        root = Path(folder) / "set"
        root.mkdir()
        for path, data in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        answer = said(root, answers, own=True)
        assert answer == said(root, answers, own=False), "another answer where it is to be stored"
        if not any(path.endswith((".npz", ".gz")) for path in files):  # an archive in an archive is refused
            with zipfile.ZipFile(Path(folder) / "set.zip", "w") as archive:
                for path, data in files.items():
                    archive.writestr(path, data)
            assert answer == said(Path(folder) / "set.zip", answers, own=True), "another answer for its zip"


def content(path: str, place: int, table: bytes) -> bytes:
    """Bytes for a file of this name; of every seventh, nonsense."""
    if path.endswith((".csv", ".jsonl")):
        return table
    if path.lower().endswith((".png", ".jpg", ".jfif")) and place % 7 != 6:
        buffer = io.BytesIO()
        pixels = np.random.default_rng(place).integers(0, 256, (6, 5), dtype=np.uint8)
        Image.fromarray(pixels.astype(np.uint16) * 16 if place % 5 == 4 else pixels).save(buffer, "PNG")
        return buffer.getvalue()
    return b"\x93NUMPY\x01\x00nonsense" * 3


def check_arrays(arrays: dict[str, tuple[tuple[int, ...], str, int]], cut: int, answers: Answers) -> None:
    """An .npz with arrays of any shape and type, and a header that may claim more than is there."""
    with tempfile.TemporaryDirectory(prefix="lab-fuzz-") as folder:
        path = Path(folder) / "x.npz"
        with zipfile.ZipFile(path, "w") as archive:
            for place, (name, (shape, kind, fill)) in enumerate(arrays.items()):
                buffer = io.BytesIO()
                with np.errstate(invalid="ignore"):
                    values = (np.random.default_rng(place).integers(0, 4 + 80 * fill, shape) - (fill == 3)).astype(kind)
                np.save(buffer, values)
                data = buffer.getvalue()
                archive.writestr(f"{name}.npy", data[:-cut] if cut and place == 0 else data)
        assert said(path, answers, own=True) == said(path, answers, own=False), "two answers"


def check_layout(paths: list[str], answers: Answers) -> None:
    """Names alone, whose order must not matter, and none of which may be lost without a word."""
    images = list(dict.fromkeys(path for path in paths if path.endswith(("g", "f"))))

    def arranged(order: list[str]) -> str:
        try:
            found = arrange(order, answers=answers)
        except LabError as error:
            return str(error)
        placed = sum(len(each) for part in (found.train, found.heldout) for each in part.values())
        assert placed + sum(found.left_out.values()) == len(images), "an image was lost without a word"
        return f"{found.train} {found.heldout} {sorted(found.left_out.items())} {found.questions} {found.layout}"

    assert arranged(images) == arranged(images[::-1]), "another answer in another order"


def cases(number: int) -> dict[str, object]:
    """The three kinds of cases, as functions that try `number` examples each, the same ones every time."""
    common = settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    return {
        "names": common(given(PATHS, ANSWERS)(check_layout)),
        "folders": common(given(PATHS, HEADERS, CELLS, ANSWERS)(check_tree)),
        "arrays": common(given(ARRAYS, st.sampled_from([0, 0, 0, 1, 8]), ANSWERS)(check_arrays)),
    }


def main() -> None:
    """Try them all and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    number = parser.parse_args().cases
    for name, share in (("names", 2), ("arrays", 4), ("folders", 4)):
        started = time.monotonic()
        cases(number // share)[name]()  # type: ignore[operator]
        print(f"{name}: {number // share:,} cases in {time.monotonic() - started:.0f} s, no fault", flush=True)


if __name__ == "__main__":
    main()
