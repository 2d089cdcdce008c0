"""The machine over time: one line every ten seconds in `<runs>/.queue/machine.jsonl`, kept for about a week."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from core import atomic, reading
from core.jobs.serving import FOLDER
from core.machine.attempts import MOST_TIME_S
from core.machine.snapshot import Machine

FILE = "machine.jsonl"
MAX_BYTES = 8 * 2**20
MAX_POINTS = 600
MIN_SPAN_S = 6 * 3600.0
DAY_S = 86400.0


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """When the disk is full if it goes on like this (ISO 8601, '' when it does not fill or nothing can be said)."""

    full_at: str
    words: str


def sample(store_root: Path, machine: Machine, running: int) -> None:
    """Append one line. Two files take turns, so that there is always about a week and never more than 16 MiB.

    Raises OSError when the disk is full.
    """
    path = store_root / FOLDER / FILE
    line: dict[str, Any] = {
        "time": round(time.time()),
        "cpu": round(machine.cpu_load, 3),
        "memory": machine.memory_used_bytes,
        "memory_total": machine.memory_total_bytes,
        "disk_used": machine.disk.used_bytes,
        "disk_free": machine.disk.free_bytes,
        "running": running,
    }
    for gpu in machine.gpus:
        line[f"gpu{gpu.index}"] = None if gpu.utilization is None else round(gpu.utilization, 3)
        line[f"gpu{gpu.index}_memory"] = gpu.memory_used_bytes
        line[f"gpu{gpu.index}_memory_total"] = gpu.memory_total_bytes
    atomic.append_line(path, json.dumps(line))
    if path.stat().st_size > MAX_BYTES:
        path.replace(path.with_suffix(".old.jsonl"))


def read_history(store_root: Path, since_s: float) -> Mapping[str, np.ndarray]:
    """Columns (n,) of the last `since_s` seconds, at most about 600 points, oldest first; {} when there is nothing.

    time (seconds since 1970), cpu (0 to 1), memory, memory_total, disk_used, disk_free (bytes), running (runs), and for
    each GPU i gpu{i} (0 to 1), gpu{i}_memory and gpu{i}_memory_total (bytes). Points are means over equal spans of
    time; NaN where a line has none.
    """
    start = time.time() - since_s
    rows: list[dict[str, Any]] = []
    folder = store_root / FOLDER
    for path in (folder / "machine.old.jsonl", folder / FILE):
        rows += _rows(path, start)
    if not rows:
        return {}
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = {name: np.array([_number(row.get(name)) for row in rows]) for name in names}
    if len(rows) <= MAX_POINTS:
        return table
    span = since_s / MAX_POINTS
    bucket = ((table["time"] - start) // span).astype(int)
    starts = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
    return {name: _means(values, starts) for name, values in table.items()}


def disk_forecast(history: Mapping[str, np.ndarray]) -> Forecast:
    """When the disk fills: the median of the slopes between pairs of points (Theil-Sen), which one big file or one
    clean-up does not fool; the history should span a week.

    Source: Sen (1968), Estimates of the regression coefficient based on Kendall's tau.
    """
    when, used = history.get("time"), history.get("disk_used")
    free = history.get("disk_free")
    if when is None or used is None or free is None or len(when) < 10 or when[-1] - when[0] < MIN_SPAN_S:
        return Forecast(full_at="", words="too little history to say when the disk is full")
    step = max(1, len(when) // 200)
    x, y = when[::step], used[::step]
    first, second = np.triu_indices(len(x), k=1)
    apart = x[second] - x[first]
    far = apart > 0
    slopes = (y[second] - y[first])[far] / apart[far]
    per_day = float(np.nanmedian(slopes)) * DAY_S
    if not np.isfinite(per_day) or per_day < 1e6:
        return Forecast(full_at="", words="the disk is not filling")
    days = float(free[-1]) / per_day
    if days > 3650:
        return Forecast(full_at="", words="the disk lasts for years at this rate")
    full_at = datetime.now(UTC) + timedelta(days=days)
    amount = f"{per_day / 1e9:.1f} GB" if per_day >= 1e9 else f"{per_day / 1e6:.0f} MB"
    about = f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"
    return Forecast(
        full_at=full_at.isoformat(timespec="seconds"),
        words=f"full in about {about} at {amount} per day",
    )


def _rows(path: Path, start: float) -> list[dict[str, Any]]:
    """Lines of the file from `start` on, oldest first; times only grow, so it is read from its end."""
    try:
        lines = reading.read_bytes(path).split(b"\n")
    except (OSError, reading.Unreadable):
        return []
    found = []
    for line in reversed(lines):
        row = _parse(line)
        if row is None:
            continue
        if row["time"] < start:
            break
        found.append(row)
    return found[::-1]


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = reading.json_object(line, FILE)
    except reading.Unreadable:
        return None
    when = row.get("time")
    return row if isinstance(when, int | float) and 0 <= when < MOST_TIME_S else None


def _means(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    total = np.add.reduceat(np.where(known, values, 0.0), starts)
    count = np.add.reduceat(known.astype(float), starts)
    return np.divide(total, count, out=np.full(len(starts), np.nan), where=count > 0)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
