"""Metrics of a run: an append-only writer, a reader that goes on where it stopped, and curves thinned for charts.

Reading costs what is new: an unchanged file is not opened, a grown one is read from the last byte on.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core import atomic, reading
from core.reading import MAX_LINE_BYTES

MOST_KEYS = 64
_TAIL_BYTES = 256
CHUNK_BYTES = 4 * 1024 * 1024
_SAMPLE_BYTES = 4096
_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")  # such lines are rare, and read with more care
_PLAIN = {float, int, type(None)}
_DECODER = json.JSONDecoder(parse_constant=lambda name: None)


class MetricsWriter:
    """Appends one JSON line a logged step to metrics.jsonl."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends_cleanly = False

    def append(self, record: Mapping[str, Any]) -> None:
        """One line in one write. A non-finite number becomes null and its key is listed under 'nonfinite'.

        Raises OSError when the disk is full.
        """
        line: dict[str, Any] = {}
        nonfinite: list[str] = []
        for key, value in record.items():
            plain = value.item() if isinstance(value, np.generic) else value
            if isinstance(plain, float) and not math.isfinite(plain):
                plain = None
                nonfinite.append(key)
            line[key] = plain
        if nonfinite:
            line["nonfinite"] = nonfinite
        prefix = "" if self._ends_cleanly or _ends_with_newline(self.path) else "\n"
        self._ends_cleanly = False
        atomic.append_line(self.path, prefix + json.dumps(line, allow_nan=False))
        self._ends_cleanly = True

    def truncate_after(self, step: int) -> None:
        """Rewrite the file without lines of later steps and torn lines, so that a resumed run repeats none."""
        try:
            old = reading.read_bytes(self.path, limit=0)
        except FileNotFoundError:
            return
        kept = b""
        for raw in old.splitlines():
            record = _parse(raw)
            if record is not None and _step_of(record) is not None and float(record["step"]) <= step:
                kept += raw + b"\n"
        if kept != old:
            atomic.write_bytes(self.path, kept)
        self._ends_cleanly = True


class MetricsReader:
    """Reads only what was appended since the last call; starts over when the file was replaced or shrank.

    problem: what of the file cannot be read, in one sentence; '' for nothing. Lines beyond MAX_LINE_BYTES are left out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.restarted = False
        self._failure = self._left_out = ""
        self._is_in_long_line = False
        self._offset = 0
        self._tail = b""
        self._seen: tuple[int, int, int] | None = None

    @property
    def problem(self) -> str:
        """What is wrong with the file now, in a sentence; '' for nothing."""
        return self._failure or self._left_out

    def read_new(self) -> list[dict[str, Any]]:
        """Complete new lines as records, oldest first; a line still being written waits for the next call.

        Afterwards `restarted` tells whether the file was read from its beginning again: drop what you had.
        """
        return [record for records in self.chunks() for record in records]

    def chunks(self) -> Iterator[list[dict[str, Any]]]:
        """The records of `read_new` a few megabytes at a time, so that a long file never lies in memory whole."""
        self.restarted = False
        try:
            facts = self.path.stat()
            seen = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
            if seen == self._seen:
                return
            with reading.open_regular(self.path) as file:
                self._failure = ""
                file.seek(self._offset - len(self._tail))
                if file.read(len(self._tail)) != self._tail:
                    self._start_over()
                    file.seek(0)
                rest = b""
                while data := file.read(CHUNK_BYTES):
                    complete, end, rest = (rest + data).rpartition(b"\n")
                    if len(rest) > MAX_LINE_BYTES:  # its beginning is dropped now, its end when it comes
                        lost, rest = rest, b""
                    else:
                        lost = b""
                    self._advance(complete + end + lost)
                    if end:
                        yield self._records(complete + end)
                    self._is_in_long_line = bool(lost) or (self._is_in_long_line and not end)
            self._seen = seen
        except FileNotFoundError:
            if self._offset:
                self._start_over()
        except (OSError, reading.Unreadable) as error:
            self._failure = str(error)
            if self._offset:
                self._start_over()

    def _advance(self, data: bytes) -> None:
        if data:
            self._offset += len(data)
            self._tail = (self._tail + data)[-_TAIL_BYTES:]

    def _records(self, complete: bytes) -> list[dict[str, Any]]:
        """The good records of whole lines, of which the first may be the end of one that was too long."""
        lines = complete.splitlines()
        if self._is_in_long_line:
            lines[0] = b" " * (MAX_LINE_BYTES + 1)
        short = [line for line in lines if len(line) <= MAX_LINE_BYTES]
        if len(short) < len(lines):
            self._left_out = f"{self.path.name}: lines longer than {MAX_LINE_BYTES // 1024} KB are left out"
        return _parse_lines(short)

    def _start_over(self) -> None:
        self.restarted = True
        self._left_out = ""
        self._offset = 0
        self._tail = b""
        self._seen = None
        self._is_in_long_line = False


class MetricColumns:
    """The columns of one metrics file, kept in buffers that grow by half and are never copied for a look.

    Memory: 8 bytes a value, at most MOST_KEYS keys; later keys are left out.
    """

    def __init__(self, path: Path) -> None:
        self._reader = MetricsReader(path)
        self._lock = threading.Lock()
        self._buffers: dict[str, np.ndarray] = {}
        self._rows = 0
        self._columns: dict[str, np.ndarray] = {}

    def read(self) -> dict[str, np.ndarray]:
        """Columns (L,) float64 by key, NaN where a line lacks a value; the same object while nothing has changed.

        Arrays handed out before keep their values. Any thread may call it.
        """
        with self._lock:
            changed = False
            for records in self._reader.chunks():
                if self._reader.restarted and not changed:
                    self._forget()
                changed = True
                self._append(columns_of(records))
            if self._reader.restarted and not changed:
                self._forget()
                changed = True
            if changed:
                self._columns = {key: _read_only(buffer[: self._rows]) for key, buffer in self._buffers.items()}
            return self._columns

    @property
    def problem(self) -> str:
        """What of the file cannot be read, '' for nothing."""
        return self._reader.problem

    @property
    def size_bytes(self) -> int:
        """Memory of the buffers."""
        return sum(buffer.nbytes for buffer in tuple(self._buffers.values()))

    def _forget(self) -> None:
        self._buffers, self._rows = {}, 0

    def _append(self, new: Mapping[str, np.ndarray]) -> None:
        start, end = self._rows, self._rows + len(new.get("step", ()))
        for key in ("step", *new):
            if key in new and key not in self._buffers and len(self._buffers) < MOST_KEYS:
                self._buffers[key] = np.full(max(end, 256), np.nan)
        for key, buffer in self._buffers.items():
            if end > len(buffer):
                grown = np.full(max(end, len(buffer) * 3 // 2), np.nan)
                grown[:start] = buffer[:start]
                self._buffers[key] = buffer = grown
            if key in new:
                buffer[start:end] = new[key]
        self._rows = end


class MetricExtremes:
    """The lowest and the highest finite value of each metric; reading costs what is new. A few values of memory."""

    def __init__(self, path: Path) -> None:
        self._reader = MetricsReader(path)
        self._lock = threading.Lock()
        self._found: dict[str, tuple[float, float]] = {}

    def read(self) -> Mapping[str, tuple[float, float]]:
        """(lowest, highest) by metric, of all lines of the file as it is now. Any thread may call it."""
        with self._lock:
            parts = [_extremes(columns_of(records)) for records in self._reader.chunks()]
            if parts or self._reader.restarted:
                known = [*([] if self._reader.restarted else [self._found]), *parts]
                names = dict.fromkeys(itertools.chain.from_iterable(known))
                pairs = {name: [each[name] for each in known if name in each] for name in names}
                self._found = {
                    name: (min(low for low, _ in found), max(high for _, high in found))
                    for name, found in pairs.items()
                }
            return self._found


def read_metrics(path: Path) -> dict[str, np.ndarray]:
    """Columns (L,) float64 by key, one row a line that has a step; NaN where a value is absent or null."""
    return columns_of(MetricsReader(path).read_new())


def columns_of(records: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Records as columns (L,) float64: numbers only, rows without a step left out, NaN where absent."""
    steps = _column([record.get("step") for record in records])
    known = np.isfinite(steps)
    rows = records if known.all() else [record for record, good in zip(records, known, strict=True) if good]
    keys = dict.fromkeys(itertools.chain.from_iterable(rows))
    found = ((key, [row.get(key) for row in rows]) for key in keys)
    return {key: _column(values) for key, values in found if _is_numeric(key, values, rows)}


def sample_values(path: Path, key: str, points: int = 40) -> list[float]:
    """At most `points` values of `key`, oldest first, from lines at even distances; the file is not read whole.

    The first and the last line that have the key are among them when they lie in the outermost 4 kB.
    """
    try:
        with reading.open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            if size <= points * _SAMPLE_BYTES // 4:
                file.seek(0)
                records = _parse_lines(file.read().splitlines())
            else:
                records = [
                    record
                    for place in np.linspace(0, size - _SAMPLE_BYTES, points).astype(int).tolist()
                    if (record := _record_near(file, place, key, last=place == size - _SAMPLE_BYTES)) is not None
                ]
    except (OSError, reading.Unreadable):
        return []
    values = [value for record in records if math.isfinite(value := _number(record.get(key)))]
    if len(values) <= points:
        return values
    return [values[place] for place in np.linspace(0, len(values) - 1, points).round().astype(int).tolist()]


def bucket_mean(x: np.ndarray, y: np.ndarray, points: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """At most `points` of the curve: the mean of x and of y of each bucket; x, y (L,) finite. Short ones unchanged."""
    if len(x) <= points:
        return x, y
    starts = np.arange(0, len(x), -(-len(x) // points))
    sizes = np.diff(np.append(starts, len(x)))
    return np.add.reduceat(x, starts) / sizes, np.add.reduceat(y, starts) / sizes


def bucket_min_max(x: np.ndarray, y: np.ndarray, points: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """At most `points` of the curve: the lowest and the highest of each bucket, so that no spike is lost.

    x, y: (L,) with x ascending; NaN in y is skipped where its bucket has a number. Short curves come back unchanged.
    """
    if len(x) <= points:
        return x, y
    width = -(-len(x) // max(points // 2, 1))
    whole = len(x) // width * width
    missing = np.isnan(y)
    parts = []
    for value in (np.where(missing, np.inf, y), np.where(missing, np.inf, -y)):
        parts.append(value[:whole].reshape(-1, width).argmin(axis=1) + np.arange(0, whole, width))
        if whole < len(x):
            parts.append(np.array([value[whole:].argmin() + whole]))
    keep = np.unique(np.concatenate(parts))
    return x[keep], y[keep]


def _extremes(columns: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    known = {key: column[np.isfinite(column)] for key, column in columns.items()}
    return {key: (float(column.min()), float(column.max())) for key, column in known.items() if len(column)}


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        if _HALF_CHARACTER.search(raw):
            return reading.json_object(raw, "")
        record = _DECODER.decode(raw.decode())
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _parse_lines(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """The good records of whole lines: at one go when all are good, else line by line."""
    try:
        text = b",".join(lines)
        records = [] if _HALF_CHARACTER.search(text) else _DECODER.decode(f"[{text.decode()}]")
        if len(records) == len(lines) and set(map(type, records)) <= {dict}:
            return list(records)
    except (ValueError, RecursionError):
        pass
    return [record for raw in lines if (record := _parse(raw)) is not None]


def _record_near(file: Any, place: int, key: str, *, last: bool) -> dict[str, Any] | None:
    """The first record with a number for `key` that begins after `place`, or the last one before the end."""
    file.seek(max(0, place - 1))
    data: bytes = file.read(_SAMPLE_BYTES + 1)
    start = data.find(b"\n") + 1 if place else 0
    lines = data[start : data.rfind(b"\n") + 1].splitlines()
    for raw in reversed(lines) if last else lines:
        record = _parse(raw)
        if record is not None and math.isfinite(_number(record.get(key))):
            return record
    return None


def _column(values: list[Any]) -> np.ndarray:
    if set(map(type, values)) <= _PLAIN:
        try:
            return np.array(values, dtype=np.float64)
        except OverflowError:
            pass
    return np.array([_number(value) for value in values], dtype=np.float64)


def _read_only(view: np.ndarray) -> np.ndarray:
    view.flags.writeable = False
    return view


def _is_numeric(key: str, values: list[Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    """True when some row has a number or null there."""
    return set(map(type, values)) <= _PLAIN or any(
        value is None or _is_number(value) for value in (row[key] for row in rows if key in row)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float:
    try:
        return float(value) if _is_number(value) else math.nan
    except OverflowError:
        return math.nan


def _step_of(record: Mapping[str, Any]) -> float | None:
    step = _number(record.get("step"))
    return step if math.isfinite(step) else None


def _ends_with_newline(path: Path) -> bool:
    try:
        with reading.open_regular(path, limit=0) as file:
            file.seek(0, 2)
            if file.tell() == 0:
                return True
            file.seek(-1, 2)
            return file.read(1) == b"\n"
    except FileNotFoundError:
        return True
