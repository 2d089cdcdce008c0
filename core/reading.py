"""The one bounded reader of files that somebody else may have touched: regular files only, never blocking, and no file
is read further than its kind may be large. A pipe, a device or a sparse giant costs one sentence at once."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import stat
from collections.abc import Hashable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from core.errors import LabError, quoted

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Record = TypeVar("Record")
KB, MB, GB = 2**10, 2**20, 2**30
LIMITS: Mapping[str, int] = {  # bytes, by the file's name or else by its suffix
    "run.json": 256 * KB,
    "status.json": 64 * KB,
    "notes.json": 200 * KB,
    "attempt.json": 64 * KB,
    "exit.json": 64 * KB,
    "stop.json": 64 * KB,
    "events.jsonl": 64 * MB,
    "metrics.jsonl": 512 * MB,
    ".json": 8 * MB,
    ".jsonl": 64 * MB,
    ".yaml": MB,
    ".npz": 512 * MB,
    ".png": 32 * MB,
    ".webp": 32 * MB,
    ".md": MB,
    ".safetensors": 16 * GB,
    "": 64 * MB,
}
MAX_DEPTH = 64  # of objects and lists in one another
MOST_INTEGER = 2**64  # inode numbers go so far
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")  # how JSON writes one, and the halves of a whole one
MAX_LINE_BYTES = 256 * KB  # of one line of metrics.jsonl or events.jsonl


class Unreadable(LabError, ValueError):
    """A file that is there and cannot be what its name says: one sentence that begins with the name."""


Stamp = tuple[int, int, int]


def stamp_of(path: Path) -> Stamp:
    """Another one whenever a file or a folder changed: time (ns), size, inode; zeros when there is none."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def limit_of(path: Path) -> int:
    """Bytes that a file of this name may have."""
    return LIMITS.get(path.name) or LIMITS.get(path.suffix.lower()) or LIMITS[""]


def open_regular(path: Path, *, limit: int | None = None) -> BinaryIO:
    """An ordinary file, opened for reading without ever waiting; links are followed.

    limit: bytes it may have, the table's by default, 0 for any number. Raises OSError when it cannot be opened,
    Unreadable for a pipe, a device or a directory, and when it is too large.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise Unreadable(f"{quoted(path.name)} is not an ordinary file")
        most = limit_of(path) if limit is None else limit
        if most and facts.st_size > most:
            size, limit_mb = facts.st_size / 1e6, most / 1e6
            raise Unreadable(f"{quoted(path.name)} has {size:,.1f} MB, a file of its kind may have {limit_mb:,.1f} MB")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, *, limit: int | None = None) -> bytes:
    """The whole file. Raises as `open_regular` does, also when it grows over its limit meanwhile."""
    most = limit_of(path) if limit is None else limit
    with open_regular(path, limit=most) as file:
        data = file.read(most + 1 if most else -1)
    if most and len(data) > most:
        raise Unreadable(f"{quoted(path.name)} grew beyond {most / 1e6:,.1f} MB while it was read")
    return data


def read_text(path: Path, *, limit: int | None = None) -> str:
    """The whole file as UTF-8. Raises as `read_bytes` does, and Unreadable for other bytes."""
    try:
        return read_bytes(path, limit=limit).decode()
    except UnicodeDecodeError:
        raise Unreadable(f"{quoted(path.name)} is not UTF-8 text") from None


def read_object(path: Path, *, limit: int | None = None) -> dict[str, Any]:
    """The JSON object in a file. Raises as `read_bytes` does, and Unreadable for anything else than an object."""
    return json_object(read_bytes(path, limit=limit), path.name)


def json_object(data: bytes | str, name: str, *, most: float = math.inf) -> dict[str, Any]:
    """A JSON object; `name` is what a refusal calls it. most: no number of it is as large. Raises Unreadable.

    Its numbers are finite and fit 64 bits, its texts hold no half of a character, and it is nested at most MAX_DEPTH
    deep: so whatever comes out can be added, compared, worded and written again.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        value = json.loads(text)
        if _HALF_CHARACTER.search(text):
            value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="ignore"))
    except RecursionError:
        raise Unreadable(f"{quoted(name)} is nested too deep") from None
    except UnicodeDecodeError:
        raise Unreadable(f"{quoted(name)} is not UTF-8 text") from None
    except ValueError as error:
        raise Unreadable(f"{quoted(name)} is not JSON: {quoted(error)}") from None
    if not isinstance(value, dict):
        raise Unreadable(f"{quoted(name)} holds no object")
    _check_values(value, name, most)
    return value


def _check_values(value: dict[str, Any], name: str, most: float) -> None:
    """Level by level, so that no depth exhausts the stack. Raises Unreadable."""
    level: list[tuple[str, Any]] = [("", value)]
    for _ in range(MAX_DEPTH):
        inner = [
            pair
            for where, each in level
            for pair in (each.items() if isinstance(each, dict) else ((where, child) for child in each))
        ]
        for where, number in inner:
            if isinstance(number, float) and not math.isfinite(number):
                problem = f"{number} is not a finite number"
            elif isinstance(number, int) and abs(number) > MOST_INTEGER:
                problem = "a number beyond 64 bits"
            elif isinstance(number, int | float) and abs(number) >= most:
                problem = f"{number:g} is beyond all measure"
            else:
                continue
            raise Unreadable(f"{quoted(name)} cannot be read: {quoted(where, 40)}: {problem}")
        level = [(where, child) for where, child in inner if isinstance(child, dict | list)]
        if not level:
            return
    raise Unreadable(f"{quoted(name)} is nested too deep")


def read_record(path: Path, kind: type[Record], *, limit: int | None = None) -> Record:
    """The JSON object in a file as a dataclass; keys that it lacks are left out. Raises as `read_bytes` does."""
    return record_from(read_bytes(path, limit=limit), kind, path.name)


def record_from(data: bytes | str, kind: type[Record], name: str) -> Record:
    """As `read_record`, of a text. Raises Unreadable, which begins with `name` and says what is wrong where."""
    from pydantic import ValidationError

    json_object(data, name)
    try:
        return cast(Record, _adapter(cast(Hashable, kind)).validate_json(data, strict=True))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        words = f"{where}: {first['msg']}" if where else first["msg"]
        raise Unreadable(f"{quoted(name)} cannot be read: {quoted(words, 160)}") from None


def salvaged(values: Mapping[str, Any], kind: type[Record], base: Mapping[str, Any]) -> Record:
    """As much of a newer format as this version can read: `base` with every value over it that fits its field."""
    good = dict(base)
    for key, value in values.items():
        with contextlib.suppress(Unreadable):
            record_from(json.dumps({**good, key: value}), kind, "")
            good[key] = value
    return record_from(json.dumps(good), kind, "")


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    """Its own function: the shim reads files too, and never needs pydantic."""
    from pydantic import TypeAdapter

    return TypeAdapter(cast(Any, kind))


def newer(number: int, known: int) -> str:
    """'made by a newer version of the lab (format 3; this one knows 2)', or '' for a format that is known."""
    return f"made by a newer version of the lab (format {number}; this one knows {known})" if number > known else ""


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file of lines; what is torn, foreign or longer than MAX_LINE_BYTES is left out.

    Raises as `read_bytes` does.
    """
    for line in read_bytes(path).splitlines():
        if len(line) <= MAX_LINE_BYTES:
            try:
                yield json_object(line, path.name)
            except Unreadable:
                continue


def read_tail(path: Path, num_bytes: int) -> bytes:
    """The last `num_bytes` of a file of any size. Raises OSError, or Unreadable for what is no ordinary file."""
    with open_regular(path, limit=0) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - num_bytes))
        return file.read(num_bytes)
