"""Sets that come as arrays: .npz and .npy under well-known names, IDX files, and tables with a column per pixel."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from core.data.decoding import natural_key, scaled
from core.data.limits import ReadLimits
from core.data.npz_file import checked_header, opened_npz
from core.data.raw import RawSet, RawSplit, blocks_of
from core.data.reader.listing import Member
from core.data.reader.look import LOOKED_AT, thinned, tops_of, values_question
from core.data.reader.names import HELDOUT, IDX, TRAIN, part_of
from core.data.reader.reading_of_set import Answers, Reading
from core.data.reader.tables import LABEL_COLUMNS, PART_COLUMNS
from core.errors import DataUnavailable, quoted

IMAGES = frozenset(("images", "image", "imgs", "x", "data", "pixels", "pictures"))
LABELS = frozenset(("labels", "label", "y", "target", "targets"))
CLASS_NAMES = ("class_names", "label_names", "target_names", "classes", "categories")
CHUNK = 2**22
Array = np.ndarray
KNOWN = "'images' and 'labels', 'train_images' and 'train_labels', 'x_train' and 'y_train', or 'X' and 'y'"


@dataclass(kw_only=True)
class ArrayParts:
    """images and labels of each part, in pairs, as they are stored. source: what they are, in words. files: where they
    lie in their folder."""

    source: str
    parts: dict[str, list[tuple[str, Array, Array]]] = field(default_factory=lambda: {TRAIN: [], HELDOUT: []})
    class_names: tuple[str, ...] | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


def role_of(name: str) -> tuple[str, str, str]:
    """(part, 'images' or 'labels', name of the part) of an array; ('', '', '') for another.

    'x_test' is ('heldout', 'images', 'test'), 'labels' is ('train', 'labels', '').
    """
    words = [word for word in re.split(r"[^a-z0-9]+", name.lower().replace("t10k", "test")) if word]
    words = [word for word in words if not re.fullmatch(r"idx\d?|u?byte|gz|npy", word)]
    parts = [word for word in words if part_of(word)[0]]
    rest = [word for word in words if word not in parts]
    kind = (
        "images" if len(rest) == 1 and rest[0] in IMAGES else "labels" if len(rest) == 1 and rest[0] in LABELS else ""
    )
    if not kind or len(parts) > 1:
        return "", "", ""
    return (part_of(parts[0])[0] if parts else TRAIN), kind, (parts[0] if parts else "")


def _wanted(name: str) -> str:
    kind = role_of(name)[1]
    return "large" if kind == "images" else "small" if kind or name in CLASS_NAMES else ""


def npz_parts(path: Path, limits: ReadLimits) -> ArrayParts:
    """Of an .npz file. Raises DataUnavailable for a damaged or hostile one, and for arrays of other names."""
    with opened_npz(path, limits, wanted=_wanted) as npz:
        found = _paired("the arrays", npz.arrays, npz.names)  # images by their headers alone, to be checked first
        for part in found.parts.values():
            for name, images, labels in part:
                _check(name, images, labels, limits)
            part[:] = [(name, npz.on_disk(name), labels) for name, _, labels in part]
        found.left_out = {"arrays of other names": npz.left_out} if npz.left_out else {}
        return found


def file_parts(members: Sequence[Member], limits: ReadLimits) -> ArrayParts:
    """Of .npy and IDX files that lie together. Raises DataUnavailable."""
    arrays: dict[str, Array] = {}
    for member in members:
        name = PurePosixPath(member.path).name
        if IDX.search(name):
            arrays[name] = _idx(member, limits)
        elif name.lower().endswith(".npy"):
            arrays[name.rpartition(".")[0]] = _npy(member)
    return _paired("the files", arrays, list(arrays))


def pixel_table(members: Sequence[Member]) -> ArrayParts | None:
    """Of CSV files with a label and a column per pixel, as Kaggle's digits, or all of them in one column 'pixels', as
    FER2013; None when they are something else.

    Raises DataUnavailable for one that begins so and is damaged.
    """
    found = ArrayParts(source="a column per pixel")
    for member in members:
        data = member.read()
        if _in_one_column(member.path, data, found):
            continue
        first, second = (*data[:200_000].split(b"\n"), b"")[:2]
        names = [name.strip().strip('"').lower() for name in first.decode(errors="replace").split(",")]
        has_header = not all(re.fullmatch(r"-?\d+(\.\d+)?", name) for name in names)
        label = next((names.index(each) for each in LABELS if each in names), 0 if not has_header else None)
        side = _side(len(names) - (label is not None))
        if not side or len(second.split(b",")) != len(names):
            continue
        kind = kind_of_part(member.path)
        if label is None:
            file = quoted(PurePosixPath(member.path).name, 40)
            found.left_out[f"images without a label in '{file}'"] = max(0, data.count(b"\n") - 1)
            continue
        try:
            values = np.loadtxt(io.BytesIO(data), delimiter=",", skiprows=int(has_header), dtype=np.float32, ndmin=2)
        except ValueError as error:
            raise DataUnavailable(
                f"'{quoted(member.path)}' is not a table of numbers ({quoted(error, 100)})", "save it again"
            ) from None
        pixels = np.delete(values, label, axis=1).reshape(len(values), *side)
        if pixels.size and (pixels == np.rint(pixels)).all() and pixels.min() >= 0 and pixels.max() < 256:
            pixels = pixels.astype(np.uint8)
        found.parts[kind].append((PurePosixPath(member.path).name, pixels, values[:, label].astype(np.int64)))
    return found if found.parts[TRAIN] or found.parts[HELDOUT] else None


def _in_one_column(path: str, data: bytes, found: ArrayParts) -> bool:
    """Add a table whose column 'pixels' holds the numbers of an image, with spaces between; False for another."""
    if b"pixels" not in data[:2000].lower():
        return False
    rows = csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", errors="replace", newline=""))
    name, count = quoted(PurePosixPath(path).name, 40), 0
    texts, values = dict[str, list[str]](), dict[str, bytearray]()
    try:
        names = [each.strip().lower() for each in next(rows, [])]
        if "pixels" not in names:
            return False
        label = next((names.index(each) for each in (*LABELS, *LABEL_COLUMNS) if each in names), None)
        usage = next((names.index(each) for each in PART_COLUMNS if each in names), None)
        for row in rows:
            text = row[label].strip() if label is not None and row else ""
            if not text:
                kind = f"images without a label in '{name}'"
                found.left_out[kind] = found.left_out.get(kind, 0) + bool(row)
                continue
            image = np.array(row[names.index("pixels")].split(), dtype=np.uint8)
            count = count or len(image)
            if len(image) != count or not _side(count):
                raise ValueError(f"{len(image)} pixels, where a square image of {count} was expected")
            part = (part_of(row[usage])[0] if usage is not None else "") or kind_of_part(path)
            values.setdefault(part, bytearray()).extend(image.tobytes())
            texts.setdefault(part, []).append(text)
    except (ValueError, IndexError, OverflowError, csv.Error) as error:
        words = f"'{quoted(path)}' is not a table of pixels: line {rows.line_num} ({quoted(error, 100)})"
        raise DataUnavailable(words, "save it again") from None
    is_number = all(text.isdecimal() for each in texts.values() for text in each)
    for part, pixels in values.items():
        labels = np.array(texts[part])
        images = np.frombuffer(pixels, np.uint8).reshape(len(labels), *(_side(count) or ()))
        found.parts[part].append((name, images, labels.astype(np.int64) if is_number else labels))
    found.source = "the column 'pixels' of"
    return True


def kind_of_part(path: str) -> str:
    """TRAIN or HELDOUT, as the name of a file says; TRAIN where it says nothing."""
    return part_of(PurePosixPath(path).stem)[0] or TRAIN


def raw_arrays(found: ArrayParts, answers: Answers, limits: ReadLimits, *, asks: bool = True) -> RawSet:
    """The set with its reading. asks: refuse a set that is nearly black, white or constant until somebody says so.

    Raises DataUnavailable, UsageError for a question that nobody answered.
    """
    train, heldout = found.parts[TRAIN], found.parts[HELDOUT]
    if not train:
        raise DataUnavailable("it holds a test split alone", "name the arrays to learn from 'train'")
    for name, images, labels in (*train, *heldout):
        _check(name, images, labels, limits)
    doubts: list[str] = []
    numbers, names = _classes(found, doubts)
    _check_names(names, limits)
    arrays = [_channels_last(name, images, doubts) for name, images, _ in (*train, *heldout)]
    top, bits = _top(arrays, answers)
    splits = [
        _joined(arrays[start : start + len(part)], numbers[start : start + len(part)], top)
        for start, part in ((0, train), (len(train), heldout))
        if part
    ]
    seen, sizes = _sample(splits), [(*array.shape[1:3], len(array)) for array in arrays]
    if len({size[:2] for size in sizes}) == 1:
        sizes = [(*sizes[0][:2], sum(size[2] for size in sizes))]
    if asks:
        for question in values_question(*seen[:3], answers):
            raise question.as_error()
    counts = [np.bincount(split.labels, minlength=len(names)) for split in splits]
    if not counts[0].all():
        empty = int(np.argmin(counts[0]))
        hint = "labels must use every number from 0 on"
        raise DataUnavailable(f"class {empty} ('{quoted(names[empty])}') has no images", hint)
    words = [f"{word} '{' and '.join(name for name, *_ in part)}'" for word, part in _words(train, heldout)]
    reading = Reading(
        layout=f"{found.source} '{quoted(train[0][0], 40)}'",
        class_names=names,
        counts_train=tuple(counts[0].tolist()),
        counts_heldout=tuple(counts[1].tolist()) if heldout else (),
        split=", ".join(words) if heldout else "",
        sizes=tuple(sizes),
        looked_at=seen[3],
        channels=splits[0].channels,
        bits=bits,
        left_out=found.left_out,
        doubts=tuple(doubts),
    )
    return RawSet(train=splits[0], heldout=splits[1] if heldout else None, class_names=names, reading=reading)


def _words(train: Sequence[Any], heldout: Sequence[Any]) -> list[tuple[str, Sequence[Any]]]:
    return [("training from", train), ("held out from", heldout)]


def _paired(source: str, arrays: Mapping[str, Array], names: Sequence[str]) -> ArrayParts:
    """Images and labels that belong together, by their names."""
    found = ArrayParts(source=source)
    pairs: dict[tuple[str, str], dict[str, str]] = {}
    for name in arrays:
        part, kind, of = role_of(name)
        if not kind:
            continue
        pair = pairs.setdefault((part, of), {})
        if kind in pair and arrays[name].ndim > 2 and arrays[pair[kind]].ndim > 2:
            both = f"'{quoted(pair[kind], 40)}' and '{quoted(name, 40)}'"
            raise DataUnavailable(f"{both} could both be the images", "remove one of them")
        if kind not in pair or arrays[name].ndim > 2:
            pair[kind] = name
    trains = [pair for (part, _), pair in pairs.items() if part == TRAIN]
    if len(trains) > 1:
        both = " and ".join(f"'{quoted(next(iter(pair.values())), 40)}'" for pair in trains[:2])
        raise DataUnavailable(f"{both} could both be what to learn from", "remove one of them")
    for (part, _), pair in pairs.items():
        if missing := {"images", "labels"} - set(pair):
            have = ", ".join(f"'{quoted(name, 40)}'" for name in list(names)[:8])
            what = f"there is no array '{missing.pop()}' for '{quoted(next(iter(pair.values())), 40)}'"
            raise DataUnavailable(f"{what}; there are {have}", f"names that are known: {KNOWN}")
        found.parts[part].append((pair["images"], arrays[pair["images"]], arrays[pair["labels"]]))
    if not pairs:
        have = ", ".join(f"'{quoted(name, 40)}'" for name in list(names)[:8]) or "no arrays"
        raise DataUnavailable(f"there is no array 'images'; there are {have}", f"names that are known: {KNOWN}")
    text = next((arrays[name] for name in CLASS_NAMES if name in arrays), None)
    if text is not None:
        if text.ndim != 1 or text.dtype.kind not in "US":
            raise DataUnavailable(f"'class_names' must be a list of texts, got {text.dtype} {text.shape}")
        found.class_names = tuple(
            each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in text
        )
    return found


def _check(name: str, images: Array, labels: Array, limits: ReadLimits) -> None:
    shape = images.shape
    if images.dtype.kind not in "uif" or (images.dtype.kind == "f" and images.dtype.itemsize > 8):
        raise DataUnavailable(f"'{name}' must be numbers, got {images.dtype}")
    is_picture = len(shape) == 3 or (len(shape) == 4 and (shape[3] in (1, 3) or shape[1] in (1, 3)))
    if not is_picture or 0 in shape[1:]:
        raise DataUnavailable(f"'{name}' must be (N, height, width) or (N, height, width, 1 or 3), got {shape}")
    if len(labels) != len(images) if labels.ndim else True:
        raise DataUnavailable(f"{len(images)} images but {len(labels) if labels.ndim else 0} labels in '{name}'")
    if not len(images):
        raise DataUnavailable(f"'{name}' holds no images")
    if len(images) > limits.pictures:
        raise DataUnavailable(f"{len(images):,} images are more than {limits.pictures:,}")
    if math.prod(shape[1:3]) > limits.picture_pixels:
        raise DataUnavailable(f"'{name}': {shape[1]} × {shape[2]} pixels are more than {limits.picture_pixels:,}")


def _classes(found: ArrayParts, doubts: list[str]) -> tuple[list[Array], tuple[str, ...]]:
    """(whole numbers per pair, class names). Labels may be (N,), (N, 1), one-hot, or text."""
    raw = [_flat(labels, doubts) for part in found.parts.values() for _, _, labels in part]
    if any(labels.dtype.kind in "US" for labels in raw):
        texts = [[quoted(_as_text(each), 100) for each in labels] for labels in raw]
        names = tuple(sorted({name for each in texts for name in each}, key=natural_key))
        places = {name: place for place, name in enumerate(names)}
        return [np.array([places[name] for name in each], dtype=np.int64) for each in texts], names
    most = min(int(raw[0].max()) + 1, len(raw[0]))  # every class has an image
    count = most if found.class_names is None else len(found.class_names)
    for labels in raw:
        if int(labels.min()) < 0:
            raise DataUnavailable(f"'labels' must be 0 or more, got {labels.min()}")
        if int(labels.max()) >= count:
            raise DataUnavailable(f"'labels' must be 0 to {count - 1}, got {labels.max()}")
    names = found.class_names or tuple(map(str, range(count)))
    return [labels.astype(np.int64) for labels in raw], names


def _flat(labels: Array, doubts: list[str]) -> Array:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif labels.ndim == 2 and labels.dtype.kind in "uifb" and labels.shape[1] > 1:
        if not ((labels == 0) | (labels == 1)).all() or not (labels.sum(axis=1) == 1).all():
            words = f"'labels' of shape {labels.shape} give an image several classes"
            raise DataUnavailable(words, "give one class per image")
        doubts.append(f"labels of shape {labels.shape} are taken as one-hot")
        return np.asarray(labels.argmax(axis=1))
    if labels.ndim != 1 or labels.dtype.kind not in "uiUS":
        whole = labels.ndim == 1 and labels.dtype.kind == "f" and bool((labels == np.rint(labels)).all())
        if not whole:
            words = f"'labels' must be whole numbers of shape (N,), got {labels.dtype} {labels.shape}"
            raise DataUnavailable(words)
        labels = labels.astype(np.int64)
    return labels


def _check_names(names: Sequence[str], limits: ReadLimits) -> None:
    if len(names) > limits.classes:
        raise DataUnavailable(f"{len(names):,} classes are more than {limits.classes:,}")
    strange = [name for name in names if not name.isprintable() or not name.strip()]
    if strange:
        raise DataUnavailable(f"the class name '{quoted(strange[0])}' has characters that cannot be shown", "rename it")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataUnavailable(f"the class name '{quoted(twice)}' is there twice", "rename one")


def _channels_last(name: str, images: Array, doubts: list[str]) -> Array:
    if images.ndim == 3:
        return images[..., None]
    if images.shape[3] in (1, 3):
        return images
    doubts.append(f"'{quoted(name, 40)}' of shape {images.shape} is taken as channels before height and width")
    return images.transpose(0, 2, 3, 1)


def _top(arrays: Sequence[Array], answers: Answers) -> tuple[float, str]:
    """The stored value that becomes 255, and what that is in words."""
    if all(array.dtype == np.uint8 for array in arrays):
        top = 1.0 if answers.bit_depth in ("1", "float") else 255.0
        return top, "1 bit" if top == 1 else "8 bits"
    low, high = np.inf, -np.inf
    for array in arrays:
        step = max(1, CHUNK // max(1, array[:1].nbytes))
        for start in range(0, len(array), step):
            part = array[start : start + step]
            if part.dtype.kind == "f" and not np.isfinite(part).all():
                raise DataUnavailable("its pixels are not all numbers", "replace NaN and infinities")
            low, high = min(low, float(part.min())), max(high, float(part.max()))
    is_float = all(array.dtype.kind == "f" for array in arrays)
    return tops_of(high, low, is_float, answers.bit_depth)


def _joined(arrays: Sequence[Array], labels: Sequence[Array], top: float) -> RawSplit:
    """One split of several arrays, end to end."""
    starts = np.cumsum([0, *map(len, arrays)])
    channels = max(array.shape[3] for array in arrays)

    def blocks(indices: Array) -> Iterator[Array]:
        which = np.searchsorted(starts, indices, side="right") - 1
        for run in np.split(np.arange(len(indices)), np.flatnonzero(np.diff(which)) + 1):
            if len(run):
                place = int(which[run[0]])
                for block in blocks_of(arrays[place], np.asarray(indices)[run] - starts[place]):
                    yield scaled(block, top)

    return RawSplit(labels=np.concatenate(list(labels)), channels=channels, blocks=blocks)


def _sample(splits: Sequence[RawSplit]) -> tuple[float, float, int, int]:
    """(sum, sum of squares, how many values, of how many images) of images spread over the set."""
    total, squares, count, seen = 0.0, 0.0, 0, 0
    step = max(1, sum(len(split.labels) for split in splits) // LOOKED_AT)
    for split in splits:
        for block in split.blocks(np.arange(0, len(split.labels), step)):
            values = thinned(block)
            total, squares = total + values.sum(), squares + (values**2).sum()
            count, seen = count + values.size, seen + len(block)
    return total, squares, count, seen


def _side(values: int) -> tuple[int, ...] | None:
    """Height, width (and channels) of so many values: square images, gray or of three channels."""
    for channels in (1, 3):
        side = math.isqrt(values // channels) if values > 0 and values % channels == 0 else 0
        if side >= 4 and side * side * channels == values:
            return (side, side) if channels == 1 else (side, side, 3)
    return None


def _idx(member: Member, limits: ReadLimits) -> Array:
    """An IDX file of bytes: 0, 0, 8, dimensions, and each size in four bytes; gzipped or not."""
    data = member.read()
    if data[:2] == b"\x1f\x8b":
        data = _unpacked(data, member, limits)
    start = 4 + 4 * (data[3] if len(data) > 3 else 0)
    if data[:3] != b"\x00\x00\x08" or len(data) < start:
        raise DataUnavailable(f"'{quoted(member.path)}' is not an IDX file of bytes", "remove or repair it")
    shape = tuple(np.frombuffer(data[4:start], ">u4").tolist())
    if math.prod(shape) != len(data) - start:
        raise DataUnavailable(f"'{quoted(member.path)}' claims {math.prod(shape):,} bytes, has {len(data) - start:,}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _unpacked(data: bytes, member: Member, limits: ReadLimits) -> bytes:
    most = min(limits.total_bytes, max(limits.exempt_bytes, limits.ratio * len(data)))
    try:
        with gzip.open(io.BytesIO(data)) as file:
            found = file.read(most + 1)
    except (OSError, EOFError, ValueError) as error:
        raise DataUnavailable(f"'{quoted(member.path)}' is damaged ({quoted(error, 100)})", "pack it again") from None
    if len(found) > most:
        raise DataUnavailable(f"'{quoted(member.path)}' would unpack to more than {most / 1e6:,.0f} MB", "unpack it")
    return found


def _npy(member: Member) -> Array:
    data = member.read()
    header = checked_header(io.BytesIO(data), len(data), quoted(member.path))
    return np.frombuffer(data, header.dtype, offset=header.start).reshape(
        header.shape, order="F" if header.is_fortran else "C"
    )


def _as_text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
