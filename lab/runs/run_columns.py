"""What a column of the runs table shows of a run: a figure, a setting or a metric, read only for who asks."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.config.load import get_value
from core.config.schema import field_rows
from core.errors import LabError
from core.evaluation.report import Report, list_reports
from core.reading import Stamp, stamp_of
from core.runs.metrics import sample_values
from core.runs.run import Run
from lab.runs.run_records import METRIC_NAMES
from lab.services.runs import RunView

ALWAYS = ("kind", "data", "images", "progress", "loss", "owner", "started")
FIGURES = ("accuracy", "FD-judge", "learning rate", "duration", "steps")
METRIC, SETTING = "last ", "set "


def known_columns() -> list[str]:
    """Every column that may be chosen: the usual ones, figures, the last value of each metric, each setting."""
    metrics = [METRIC + name for name in METRIC_NAMES]
    return [*ALWAYS, *FIGURES, *metrics, *(SETTING + name for name, _ in field_rows())]


def figure_of(view: RunView, column: str) -> float | str | None:
    """The value of a column that `known_columns` names, None where the run has none. duration: seconds."""
    run = view.run
    if column == "duration":
        return view.status.elapsed_s or None
    if column == "steps":
        return view.status.step
    if column in ("accuracy", "FD-judge"):
        report = _newest_report(run.folder, stamp_of(run.evaluations_dir)) if run.kind.generates else None
        return None if report is None else report.class_accuracy if column == "accuracy" else report.fd_judge
    if column == "learning rate":
        return _setting(run, f"{run.kind.section}.learning_rate") if run.kind.trains else None
    if column.startswith(METRIC):
        return _last(run.metrics_path, column.removeprefix(METRIC), stamp_of(run.metrics_path))
    if column.startswith(SETTING):
        return _setting(run, column.removeprefix(SETTING))
    texts = {"kind": view.kind, "data": view.data_name, "owner": run.info.owner, "started": run.info.created_at}
    return _last(run.metrics_path, "loss", stamp_of(run.metrics_path)) if column == "loss" else texts.get(column)


def settings_that_differ(views: list[RunView]) -> list[tuple[str, list[str]]]:
    """(dotted name, its value in each run) of the settings that are not the same in all; '–' where unreadable."""
    rows = [(name, [_text(_setting(view.run, name)) for view in views]) for name, _ in field_rows()]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _text(value: Any) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _setting(run: Run, name: str) -> Any:
    value = _settings(run.folder, stamp_of(run.config_path)).get(name)
    return value if value is None or type(value) in (int, float, str) else str(value)


@lru_cache(maxsize=2000)
def _settings(folder: Path, stamp: Stamp) -> dict[str, Any]:
    try:
        settings = Run(folder).settings
    except LabError:
        return {}
    return {name: get_value(settings, name) for name, _ in field_rows()}


@lru_cache(maxsize=5000)
def _last(path: Path, metric: str, stamp: Stamp) -> float | None:
    values = [value for value in sample_values(path, metric) if math.isfinite(value)] if any(stamp) else []
    return values[-1] if values else None


@lru_cache(maxsize=2000)
def _newest_report(folder: Path, stamp: Stamp) -> Report | None:
    return next(iter(list_reports(Run(folder))), None) if any(stamp) else None
