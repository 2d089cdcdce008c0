"""The curves of one run: loss large, learning rate and gradient norm small; the zoom survives every refresh."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from core.errors import LabError
from core.training.learning_rate import learning_rate_at
from core.words import count
from lab.services import runs
from lab.services.runs import RunView
from lab.widgets.curve_controls import Look, axes_of, curve_controls, zoomable_chart
from lab.widgets.curves import Curve, Mark, axis_end, curve_figure, missing_values, spans_decades
from lab.widgets.palette import Ink, palette
from lab.widgets.spark import spark
from lab.words import significant

PLANNED_POINTS = 200
MOST_RESUMES = 30
Columns = Mapping[str, np.ndarray]
PARTS = {"reconstruction": "Reconstruction error", "edge": "Edge error", "kl": "KL, nats per image"}
QUALITY = {
    "eval_class_accuracy": "Class accuracy of the averaged weights, higher is better",
    "eval_fd_judge": "FD-judge of the averaged weights, lower is better",
}


def loss_curve(view: RunView) -> None:
    """Training and validation loss, and below it the parts that the objective is made of.

    Of a run that branched from another, the other's curve up to that step is drawn fainter.
    """
    columns = runs.curves(view.run)
    if "loss" not in columns:
        if view.is_active:
            st.caption("The curves appear with the first logged steps.")
        return
    before = runs.before_branch(view.run)
    look = _look(view, columns, before)
    zoomable_chart(loss_figure(view, columns, before, look), look, "loss")
    parts = [(key, words) for key, words in (*PARTS.items(), *QUALITY.items()) if key in columns]
    if parts:
        st.html(small_curves([(words, columns[key]) for key, words in parts]))


def metric_curves(view: RunView) -> None:
    """Learning rate and gradient norm, and the quality that was measured on the way.

    A box drawn over a chart zooms all charts of the run.
    """
    columns = runs.curves(view.run)
    if "step" not in columns:
        return
    before = runs.before_branch(view.run)
    look = _look(view, columns, before)
    cells = st.columns(2)
    with cells[0]:
        if "learning_rate" in columns:
            zoomable_chart(learning_rate_figure(view, columns, before, look), look, "learning_rate")
    with cells[1]:
        if "grad_norm" in columns:
            zoomable_chart(gradient_figure(view, columns, before, look), look, "grad_norm")
    for cell, (key, title) in zip(st.columns(2), QUALITY.items(), strict=True):
        with cell:
            if key in columns:
                zoomable_chart(quality_figure(key, title, view, columns, before, look), look, key)


def _look(view: RunView, columns: Columns, before: Columns) -> Look:
    """The row of controls above the charts."""
    parts = [part for part in (before, columns) if part]
    losses = np.concatenate([part["loss"] for part in parts if "loss" in part] or [np.empty(0)])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        look = curve_controls(view.id, log_y=spans_decades(losses), axes=axes_of(*parts))
        st.download_button(
            "CSV",
            lambda: runs.as_csv(view.run),
            f"{view.id}.csv",
            "text/csv",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
            key=f"csv-{view.id}",
            help="Every logged line. Drag over a curve to zoom in.",
        )
    return look


def small_curves(parts: Sequence[tuple[str, np.ndarray]]) -> str:
    """HTML with a small curve and the newest value per part; values (L,), NaN where a line lacks one."""
    cells = []
    for words, column in parts:
        values = column[np.isfinite(column)]
        if not len(values):
            continue
        line = spark(values, palette(st.context.theme.type).held_out.line)
        newest = html.escape(significant(float(values[-1])))
        cells.append(f'<div class="part"><span>{html.escape(words)}</span><b>{newest}</b>{line}</div>')
    return f'<div class="lab-parts">{"".join(cells)}</div>'


def loss_figure(view: RunView, columns: Columns, before: Columns, look: Look) -> go.Figure:
    """Training and validation loss, with marks where it branched, was resumed, or was no number."""
    colors = palette(st.context.theme.type)
    lines = _lines("loss", "training", colors.training, columns, before, look, smooth=True)
    lines += _lines("val_loss", "validation", colors.held_out, columns, before, look, smooth=True, markers=True)
    x = look.positions(columns)
    happened = [(step, "resumed") for step in runs.resumed_at(view.run)[-MOST_RESUMES:]]
    if view.run.info.branched_from:
        step = view.run.info.branched_step
        happened.append((step, f"branched at step {count(step)}"))
    steps, places = columns["step"], x
    if before:
        steps, places = (np.concatenate(pair) for pair in ((before["step"], steps), (look.positions(before), x)))
    marks = [Mark(x=float(np.interp(step, steps, places)), ink=colors.event, text=text) for step, text in happened]
    return curve_figure(
        lines,
        title="Loss, lower is better",
        y_title="loss",
        x_total=axis_end(float(np.nanmax(x, initial=0.0)), _x_total(view, columns, look)),
        x_range=look.zoom,
        log_y=look.log_y,
        marks=[*marks, *missing_values(x, columns["loss"], colors.trouble)],
        axis=look.axis,
        smoothing=look.smoothing,
    )


def learning_rate_figure(view: RunView, columns: Columns, before: Columns, look: Look) -> go.Figure:
    """The learning rate so far, and as the settings plan it."""
    colors = palette(st.context.theme.type)
    lines = _lines("learning_rate", "so far", colors.training, columns, before, look)
    planned = _planned(view, columns, look) if view.state != "finished" else None
    if planned is not None:
        lines.insert(0, Curve(name="planned", ink=colors.event, x=planned[0], y=planned[1], dashed=True))
    return _small_figure("Learning rate", lines, view, columns, look)


def gradient_figure(view: RunView, columns: Columns, before: Columns, look: Look) -> go.Figure:
    """The norm of the gradient, before it was clipped."""
    ink = palette(st.context.theme.type).training
    lines = _lines("grad_norm", "Gradient norm", ink, columns, before, look, smooth=True)
    return _small_figure("Gradient norm before clipping", lines, view, columns, look)


def quality_figure(key: str, title: str, view: RunView, columns: Columns, before: Columns, look: Look) -> go.Figure:
    """A measure of the images that the averaged weights gave, by step."""
    ink = palette(st.context.theme.type).held_out
    lines = _lines(key, title.partition(" of ")[0], ink, columns, before, look, markers=True)
    return _small_figure(title, lines, view, columns, look)


def _small_figure(title: str, lines: list[Curve], view: RunView, columns: Columns, look: Look) -> go.Figure:
    return curve_figure(
        lines,
        title=title,
        y_title="",
        x_total=_x_total(view, columns, look),
        x_range=look.zoom,
        height=200,
        axis=look.axis,
        smoothing=look.smoothing,
    )


def _lines(
    key: str,
    name: str,
    ink: Ink,
    columns: Columns,
    before: Columns,
    look: Look,
    *,
    smooth: bool = False,
    markers: bool = False,
) -> list[Curve]:
    """The run's line, and before it the part of the run that it branched from."""
    found = []
    for part, faint in ((before, True), (columns, False)):
        if key in part:
            x, y = look.positions(part), part[key]
            if markers:
                known = np.isfinite(y)
                x, y = x[known], y[known]
            found.append(Curve(name=name, ink=ink, x=x, y=y, smooth=smooth, markers=markers, faint=faint))
    return found


def _x_total(view: RunView, columns: Columns, look: Look) -> float:
    """Where the whole run will end on the axis, as far as that can be told."""
    steps, last = columns["step"], float(np.nanmax(look.positions(columns), initial=0.0))
    if look.axis.key == "step":
        return max(float(view.status.steps_total), last)
    if look.axis.key == "images_seen":
        return max(last, last * view.status.steps_total / steps[-1] if steps[-1] > 0 else last)
    return last + (view.status.eta_s or 0.0) / look.axis.unit if view.is_active else last


def _planned(view: RunView, columns: Columns, look: Look) -> tuple[np.ndarray, np.ndarray] | None:
    """The learning rate of the whole run by its settings; None when they cannot be read, or over hours."""
    total = view.status.steps_total
    if look.axis.key == "elapsed_s" or total < 2 or columns["step"][-1] <= 0:
        return None
    try:
        settings = view.run.train_settings
    except LabError:
        return None
    steps = np.unique(np.linspace(1, total, PLANNED_POINTS).round())
    rates = np.array([learning_rate_at(int(step) - 1, settings) for step in steps])
    return steps * (look.positions(columns)[-1] / columns["step"][-1]), rates
