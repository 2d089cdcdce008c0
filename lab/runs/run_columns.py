"""What a column of the runs table shows of a run: a figure, a setting or a metric, read only for who asks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.bounded_cache import BoundedCache
from core.config.load import get_value
from core.config.schema import field_rows
from core.errors import LabError
from core.evaluation.report import Report, list_reports
from core.jobs import disk
from core.reading import stamp_of
from core.runs.metrics import MetricExtremes, sample_values
from core.runs.run import Run
from lab.runs.run_records import METRIC_NAMES
from lab.services.runs import RunView

USUAL = ("data", "images", "loss", "accuracy", "FD-judge", "learning rate", "duration", "owner", "started")
OTHERS = ("kind", "progress", "steps", "size")
MEASURES = {
    "accuracy": "class_accuracy",
    "FD-judge": "fd_judge",
    "precision": "precision",
    "recall": "recall",
    "copy ratio": "copy_ratio",
}
FIGURES = ("accuracy", "FD-judge", "learning rate", "duration", "steps")
LAST, BEST, SETTING = "last ", "best ", "set "
HIGHEST_IS_BEST = ("images_per_s",)
LOWEST_IS_BEST = ("loss", "val_loss", "reconstruction", "edge", "kl", "grad_norm")
MOST_KEPT = 8000
Value = float | str | None
_PLAIN: dict[str, Callable[[RunView], Value]] = {
    "kind": lambda view: view.kind,
    "data": lambda view: view.data_name,
    "owner": lambda view: view.run.info.owner,
    "started": lambda view: view.run.info.created_at,
    "name": lambda view: view.title,
    "state": lambda view: view.shown_state,
    "steps": lambda view: view.status.step,
    "progress": lambda view: view.progress,
}


def known_columns() -> list[str]:
    """Every column that may be chosen: the usual ones, measures, the best and last value of metrics, each setting."""
    best = [BEST + name for name in METRIC_NAMES if name in (*LOWEST_IS_BEST, *HIGHEST_IS_BEST)]
    last = [LAST + name for name in METRIC_NAMES]
    settings = [SETTING + name for name, _ in field_rows()]
    return list(dict.fromkeys([*USUAL, *OTHERS, *MEASURES, *best, *last, *settings]))


def lower_is_better(column: str) -> bool:
    """Whether the best of a column's numbers is the lowest one."""
    name = column.removeprefix(BEST).removeprefix(LAST)
    return name in LOWEST_IS_BEST or name == "FD-judge"


@dataclass
class Reader:
    """Reads columns for one look. What is not known yet is read until that has taken `patience_s` seconds.

    later: what was left for afterwards, as (run, column).
    """

    patience_s: float = math.inf
    later: list[tuple[RunView, str]] = field(default_factory=list)
    _spent_s: float = 0.0

    def value(self, view: RunView, column: str) -> Value:
        """The value of a column that `known_columns` names; None where the run has none, or where it is left for later.

        duration: seconds. size: bytes. Measures: of the newest report, unless that was measured the old way.
        """
        run = view.run
        if column == "duration":
            return view.status.elapsed_s or None
        if column in MEASURES:
            return self._measure(view, column, is_old=False)
        if column == "size":
            return self._read(view, column, _SIZE)
        if column == "learning rate":
            return self._setting(view, column, f"{run.kind.section}.learning_rate") if run.kind.trains else None
        if column.startswith(SETTING):
            return self._setting(view, column, column.removeprefix(SETTING))
        if column.startswith(BEST):
            name = column.removeprefix(BEST)
            extremes = self._read(view, column, _EXTREMES)
            return extremes[name][name in HIGHEST_IS_BEST] if extremes and name in extremes else None
        if column == "loss" or column.startswith(LAST):
            name = column.removeprefix(LAST)
            return self._read(view, column, Source(f"last {name}", _metrics_stamp, lambda run, _: _last(run, name)))
        return _PLAIN[column](view) if column in _PLAIN else None

    def measured_the_old_way(self, view: RunView, column: str) -> Value:
        """What a measure was in a report that compares with no newer one; `value` leaves it out, so it has no rank."""
        return self._measure(view, column, is_old=True) if column in MEASURES else None

    def _measure(self, view: RunView, column: str, *, is_old: bool) -> Value:
        report: Report | None = self._read(view, column, _REPORT) if view.run.kind.generates else None
        return None if report is None or report.is_old != is_old else getattr(report, MEASURES[column])

    def _setting(self, view: RunView, column: str, name: str) -> Value:
        value = (self._read(view, column, _SETTINGS) or {}).get(name)
        return value if value is None or type(value) in (int, float, str) else str(value)

    def _read(self, view: RunView, column: str, source: Source) -> Any:
        """What was read before while its files have not changed, else read now, unless patience is over."""
        key, stamp = (source.what, str(view.run.folder)), source.stamp(view.run)
        kept = _KEPT.get(key)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        if self._spent_s >= self.patience_s:
            self.later.append((view, column))
            return None
        started = time.monotonic()
        value = source.make(view.run, None if kept is None else kept[1])
        self._spent_s += time.monotonic() - started
        _KEPT.put(key, (stamp, value))
        return value


@dataclass(frozen=True)
class Source:
    """Where values come from. stamp: changes with what is read. make: reads it, given what was read before or None."""

    what: str
    stamp: Callable[[Run], object]
    make: Callable[[Run, Any], Any]


def figure_of(view: RunView, column: str) -> Value:
    """The value of a column, however long it takes to read."""
    return Reader().value(view, column)


def _settings(run: Run, _: object) -> dict[str, Any]:
    try:
        settings = run.shown_settings
    except LabError:
        return {}
    return {name: get_value(settings, name) for name, _ in field_rows()}


def _metrics_stamp(run: Run) -> object:
    return stamp_of(run.metrics_path)


def _last(run: Run, metric: str) -> float | None:
    values = [value for value in sample_values(run.metrics_path, metric) if math.isfinite(value)]
    return values[-1] if values else None


def _extremes(run: Run, before: _Extremes | None) -> _Extremes:
    return _Extremes(before.reader if before else MetricExtremes(run.metrics_path))


class _Extremes(dict[str, tuple[float, float]]):
    """The extremes of a run as they were read, with the reader that goes on from there."""

    def __init__(self, reader: MetricExtremes) -> None:
        self.reader = reader
        super().__init__(reader.read())


_REPORT = Source(
    "report", lambda run: stamp_of(run.evaluations_dir), lambda run, _: next(iter(list_reports(run)), None)
)
_SIZE = Source("size", disk.size_stamp, lambda run, _: float(disk.run_size(run).total_bytes))
_SETTINGS = Source("settings", lambda run: stamp_of(run.config_path), _settings)
_EXTREMES = Source("extremes", _metrics_stamp, _extremes)
_KEPT: BoundedCache[tuple[str, str], tuple[object, Any]] = BoundedCache(max_count=MOST_KEPT)
