"""Metrics of a run: an append-only writer, a reader that goes on where it stopped, and curves thinned for charts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from core import atomic

_TAIL_BYTES = 256


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
            old = self.path.read_bytes()
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
    """Reads only what was appended since the last call; starts over when the file was replaced or shrank."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.restarted = False
        self._offset = 0
        self._tail = b""

    def read_new(self) -> list[dict[str, Any]]:
        """Complete new lines as records, oldest first; a line still being written waits for the next call.

        Afterwards `restarted` tells whether the file was read from its beginning again: drop what you had.
        """
        self.restarted = False
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset - len(self._tail))
                if file.read(len(self._tail)) != self._tail:
                    self._start_over()
                    file.seek(0)
                data = file.read()
        except FileNotFoundError:
            if self._offset:
                self._start_over()
            return []
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        self._tail = (self._tail + complete)[-_TAIL_BYTES:]
        return [record for raw in complete.splitlines() if (record := _parse(raw)) is not None]

    def _start_over(self) -> None:
        self.restarted = True
        self._offset = 0
        self._tail = b""


def read_metrics(path: Path) -> dict[str, np.ndarray]:
    """Columns (L,) float64 by key, one row a line that has a step; NaN where a value is absent or null."""
    return columns_of(MetricsReader(path).read_new())


def columns_of(records: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Records as columns (L,) float64: numbers only, rows without a step left out, NaN where absent."""
    rows = [record for record in records if _step_of(record) is not None]
    keys = {key: None for row in rows for key, value in row.items() if value is None or _is_number(value)}
    return {key: np.array([_number(row.get(key)) for row in rows], dtype=np.float64) for key in keys}


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


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(raw, parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


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
        with path.open("rb") as file:
            file.seek(0, 2)
            if file.tell() == 0:
                return True
            file.seek(-1, 2)
            return file.read(1) == b"\n"
    except FileNotFoundError:
        return True
