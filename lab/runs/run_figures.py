"""Four figures at the head of a run's page: progress, loss, quality, speed; one piece of HTML per tick."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import streamlit as st

from core.evaluation.report import Report, list_reports
from core.words import count, duration
from lab.services import evaluations, runs
from lab.services.runs import RunView, done_in_words
from lab.widgets.palette import palette
from lab.widgets.spark import spark
from lab.words import plain, significant


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure. value: the large words. note: a line below. share: a bar under it, 0 to 1.

    line: a small curve. ink: its color.
    """

    name: str
    value: str
    note: str = ""
    share: float | None = None
    line: Sequence[float] | np.ndarray = ()
    ink: str = ""


def run_figures(view: RunView) -> None:
    """Draw them in a row."""
    st.html(f'<div class="lab-figures">{"".join(_cell(figure) for figure in figures(view))}</div>')


def figures(view: RunView) -> list[Figure]:
    """The figures of a run as it is now."""
    if view.run.kind.evaluates:
        return _measured(view)
    if not view.run.kind.trains:
        return [_progress(view)]
    return [_progress(view), _loss(view), _quality(view), _speed(view)]


def _progress(view: RunView) -> Figure:
    status, unit = view.status, view.run.kind.unit
    if view.state == "finished":
        note = f"in {duration(status.elapsed_s)}" if status.elapsed_s else ""
        return Figure(name="Progress", value=f"{count(status.step)} {unit}s", note=note, share=1.0)
    words = [done_in_words(view)] if status.steps_total > 1 else []
    if view.is_active and status.eta_s is not None:
        words.append(f"{duration(status.eta_s)} left, until about {_clock(status.eta_s)}")
    if view.is_active and status.stage and status.stage != "training":
        words.append(status.stage)
    if not view.is_active and status.elapsed_s:
        words.append(f"{'trained' if view.run.kind.trains else 'took'} {duration(status.elapsed_s)}")
    return Figure(name="Progress", value=f"{100 * view.progress:.0f} %", note=" · ".join(words), share=view.progress)


def _clock(seconds: float) -> str:
    try:
        return f"{datetime.now(UTC) + timedelta(seconds=seconds):%H:%M} UTC"
    except (OverflowError, ValueError):
        return "–"


def _loss(view: RunView) -> Figure:
    columns = runs.curves(view.run)
    colors = palette(st.context.theme.type)
    for key, name, ink in (
        ("val_loss", "Validation loss", colors.held_out.line),
        ("loss", "Training loss", colors.training.line),
    ):
        steps, values = _known(columns, key)
        if len(values):
            best = int(np.argmin(values))
            lowest = "lowest so far" if best == len(values) - 1 else f"lowest {significant(float(values[best]))}"
            note = f"{lowest}, step {count(float(steps[best]))}"
            value = significant(float(values[-1]))
            return Figure(name=name, value=value, note=note, line=values, ink=ink)
    return Figure(name="Loss", value="–", note="nothing logged yet")


def _known(columns: dict[str, np.ndarray], key: str) -> tuple[np.ndarray, np.ndarray]:
    if key not in columns:
        return np.empty(0), np.empty(0)
    known = np.isfinite(columns[key])
    return columns["step"][known], columns[key][known]


def _quality(view: RunView) -> Figure:
    if view.run.kind.vae == "own":
        columns = runs.curves(view.run)
        errors, kl = _known(columns, "reconstruction")[1], _known(columns, "kl")[1]
        if not len(errors):
            return Figure(name="Reconstruction error", value="–")
        note = f"KL {significant(float(kl[-1]))} nats per image" if len(kl) else ""
        return Figure(name="Reconstruction error", value=significant(float(errors[-1])), note=note)
    reports = list_reports(view.run) if view.run.kind.generates else []
    if not reports:
        return _accuracy_so_far(view)
    return _accuracy(reports[0], f"{count(reports[0].num_samples)} images at step {count(reports[0].step)}")


def _accuracy_so_far(view: RunView) -> Figure:
    """What was measured while it trained, with its course."""
    steps, shares = _known(runs.curves(view.run), "eval_class_accuracy")
    if not len(steps):
        return Figure(name="Class accuracy", value="–", note="not evaluated yet")
    note = f"{count(view.run.settings.evaluation.during_samples)} images at step {count(float(steps[-1]))}"
    ink = palette(st.context.theme.type).held_out.line
    return Figure(name="Class accuracy", value=f"{100 * shares[-1]:.1f} %", note=note, line=shares, ink=ink)


def _accuracy(report: Report, more: str) -> Figure:
    note = f"{100 * report.class_accuracy_low:.1f} to {100 * report.class_accuracy_high:.1f} %, {more}"
    return Figure(name="Class accuracy", value=f"{100 * report.class_accuracy:.1f} %", note=note)


def _measured(view: RunView) -> list[Figure]:
    """Of an evaluation: its figures, or how far it is."""
    _, report = evaluations.measured_by(view)
    if report is None:
        return [_progress(view)]
    return [
        _accuracy(report, "95 % interval"),
        Figure(
            name="FD-judge",
            value=f"{report.fd_judge:.3g}",
            note=f"lower is better, real images {report.fd_floor:.3g}",
        ),
        Figure(
            name="Precision and recall",
            value=f"{report.precision:.2f} / {report.recall:.2f}",
            note="share that looks real / of real variety",
        ),
        Figure(
            name="Images",
            value=count(report.num_samples),
            note=f"of step {count(report.step)}, in {duration(report.elapsed_s)}",
        ),
    ]


def _speed(view: RunView) -> Figure:
    status = view.status
    if view.is_active and status.images_per_s:
        return Figure(name="Speed", value=f"{count(status.images_per_s)} images/s", note=status.device)
    columns = runs.curves(view.run)
    seen, times = _known(columns, "images_seen")[1], _known(columns, "elapsed_s")[1]
    if not len(seen) or not len(times) or times[-1] <= 0:
        return Figure(name="Speed", value="–", note=status.device)
    return Figure(name="Speed", value=f"{count(float(seen[-1] / times[-1]))} images/s", note=status.device)


def _cell(figure: Figure) -> str:
    bar = ""
    if figure.share is not None:
        bar = f'<span class="bar"><span style="width:{100 * figure.share:.1f}%"></span></span>'
    return (
        f'<div class="figure"><span class="name">{html.escape(figure.name)}</span>'
        f'<span class="value">{html.escape(figure.value)}{spark(figure.line, figure.ink)}</span>{bar}'
        f'<span class="note">{html.escape(plain(figure.note, 160))}</span></div>'
    )
