"""Parquet files with a column of encoded images and one of classes, as Hugging Face stores its datasets."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import IO, Any

from core import reading
from core.data.decoding import natural_key
from core.data.limits import ReadLimits
from core.data.reader.layout import Arranged
from core.data.reader.listing import Member
from core.data.reader.names import HELDOUT, TRAIN, part_of
from core.data.reader.reading_of_set import AUTO, Answers
from core.data.reader.tables import LABEL_COLUMNS
from core.errors import DataUnavailable, quoted

IMAGE_COLUMNS = ("image", "img", "picture", "jpg", "png")
BATCH = 64  # rows in memory at once


def parquet_members(
    files: Sequence[Member], answers: Answers, limits: ReadLimits
) -> tuple[Arranged, dict[str, Member]]:
    """(classes and split, path → image) of Parquet files that lie together; the path of an image is FILE/ROW.

    The images lie in a nameless file meanwhile, not in memory. Raises DataUnavailable.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # the others reserve more than a limited process has
    spool = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the members that read from it)
    found: dict[str, dict[str, list[str]]] = {TRAIN: {}, HELDOUT: {}}
    used: dict[str, list[str]] = {TRAIN: [], HELDOUT: []}
    members: dict[str, Member] = {}
    unlabelled = 0
    said = answers.labels_from.rpartition(":")[2] if answers.labels_from != AUTO else ""
    column = ""
    for file in files:
        part = _part(file.path)
        used[part].append(PurePosixPath(file.path).name)
        try:
            column, rows = _rows(file, said)
            for place, (data, label) in enumerate(rows):
                if len(members) >= limits.pictures:
                    raise DataUnavailable(f"more than {limits.pictures:,} images")
                if label is None or data is None:
                    unlabelled += 1
                    continue
                path = f"{file.path}/{place}"
                members[path] = Member(path, _reader(spool, spool.seek(0, os.SEEK_END), len(data)), file.in_place)
                spool.write(data)
                found[part].setdefault(label, []).append(path)
        except (DataUnavailable, MemoryError, OSError):
            raise
        except Exception as error:  # a damaged file raises whatever its parser meets
            raise DataUnavailable(
                f"'{quoted(file.path)}' is not a readable Parquet file ({quoted(error, 120)})", "save it again"
            ) from None
    if not found[TRAIN] and found[HELDOUT]:
        found, used = {TRAIN: found[HELDOUT], HELDOUT: {}}, {TRAIN: used[HELDOUT], HELDOUT: []}
    if foreign := sorted(set(found[HELDOUT]) - set(found[TRAIN])):
        raise DataUnavailable(f"the class '{quoted(foreign[0])}' is in the test split alone", "add it to 'train' too")
    if not found[TRAIN]:
        raise DataUnavailable("its Parquet files hold no image with a class")
    if len(found[TRAIN]) > limits.classes:
        raise DataUnavailable(f"{len(found[TRAIN]):,} classes are more than {limits.classes:,}")
    names = sorted(found[TRAIN], key=natural_key)
    split = ", ".join(
        f"{word} '{quoted(' and '.join(used[part]), 80)}'"
        for part, word in ((TRAIN, "training from"), (HELDOUT, "held out from"))
        if found[HELDOUT] and used[part]
    )
    arranged = Arranged(
        layout=f"the column '{quoted(column, 40)}' of Parquet files",
        split=split,
        train={name: found[TRAIN][name] for name in names},
        heldout={name: found[HELDOUT][name] for name in names if name in found[HELDOUT]},
        left_out=Counter({"images without a label": unlabelled} if unlabelled else {}),
    )
    return arranged, members


def _part(path: str) -> str:
    """By the name of the file, 'test-00000-of-00001.parquet', else of a directory around it."""
    names = (PurePosixPath(path).stem.partition("-")[0], *reversed(path.split("/")[:-1]))
    return next((part_of(name)[0] for name in names if part_of(name)[0]), TRAIN)


def _rows(file: Member, said: str) -> tuple[str, Any]:
    """(the column of the classes, an iterator of (encoded image, class or None)). said: that column, '' = find it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DataUnavailable("Parquet files need the package pyarrow", "run: pip install pyarrow") from None

    opened = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(file.read()))
    names = opened.schema_arrow.names
    image = next((name for name in (*IMAGE_COLUMNS, *names) if name in names and _holds_images(opened, name)), None)
    label = next((name for name in ((said,) if said else LABEL_COLUMNS) if name in names), None)
    if image is None or label is None:
        have = ", ".join(quoted(name, 40) for name in names[:12])
        missing = "images" if image is None else "classes"
        which = f"'{quoted(said, 40)}'" if said and label is None else f"of {missing}"
        name = quoted(PurePosixPath(file.path).name, 40)
        hint = f"name the column of the classes with --labels-from {name}:COLUMN" if label is None else ""
        raise DataUnavailable(f"'{quoted(file.path)}' has no column {which}; it has {have}", hint)
    texts = _class_names(opened, label)

    def rows() -> Any:
        for batch in opened.iter_batches(batch_size=BATCH, columns=[image, label], use_threads=False):
            cells = batch.column(image).to_pylist()
            for cell, value in zip(cells, batch.column(label).to_pylist(), strict=True):
                data = cell.get("bytes") if isinstance(cell, dict) else cell
                yield data, None if value in (None, -1, "") else _name(value, texts)

    return label, rows()


def _holds_images(opened: Any, name: str) -> bool:
    import pyarrow

    kind = opened.schema_arrow.field(name).type
    if pyarrow.types.is_struct(kind):
        return any(kind.field(place).name == "bytes" for place in range(kind.num_fields))
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


def _class_names(opened: Any, label: str) -> list[str]:
    """The names that Hugging Face writes into the file's metadata; [] where there are none."""
    try:
        told = reading.json_object((opened.schema_arrow.metadata or {})[b"huggingface"], "its metadata")
        return [str(name) for name in told["info"]["features"][label]["names"]]
    except (KeyError, TypeError, ValueError):
        return []


def _name(value: Any, texts: Sequence[str]) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(texts):
        return texts[value]
    if not isinstance(value, str | int | bool):
        raise DataUnavailable(f"its classes are {type(value).__name__}s", "give one class per image, text or number")
    return str(value)


def _reader(spool: IO[bytes], start: int, length: int) -> Callable[[], bytes]:
    def read() -> bytes:
        spool.seek(start)
        return spool.read(length)

    return read
