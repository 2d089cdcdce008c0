"""Curves of a run: loss, learning rate, gradient norm. Raw values faint, the smoothed line in front, NaNs marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.runs.metrics import bucket_mean, bucket_min_max
from lab.widgets.chart import Range, as_text, frame, note
from lab.widgets.palette import Ink

POINTS = 1500
SMOOTH_POINTS = 500
SMOOTHING = 0.03
MOST_MARKERS = 60
WORDS_APART = 0.12


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What a curve is drawn over. key: the column; unit: how much of it is one on the axis."""

    key: str
    title: str
    tickformat: str
    hover: str
    unit: float = 1.0


AXES = {
    "steps": Axis(key="step", title="step", tickformat=",d", hover="step %{x:,}"),
    "images": Axis(key="images_seen", title="images seen", tickformat="~s", hover="%{x:,} images"),
    "hours": Axis(key="elapsed_s", title="hours in training", tickformat="~g", hover="%{x:.3f} h", unit=3600.0),
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line: x and y (N,). smooth: raw values faint behind a smoothed line; markers: few points are dots instead.

    faint: another run's part of the line; dashed: what is planned.
    """

    name: str
    ink: Ink
    x: np.ndarray
    y: np.ndarray
    smooth: bool = False
    markers: bool = False
    faint: bool = False
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something that happened at a place of the x-axis: a thin line, and a word on top when given."""

    x: float
    ink: Ink
    text: str = ""


def curve_figure(
    curves: Sequence[Curve],
    *,
    title: str,
    y_title: str,
    x_total: float,
    x_range: Range | None = None,
    log_y: bool = False,
    height: int = 340,
    marks: Sequence[Mark] = (),
    axis: Axis = AXES["steps"],
    smoothing: float = SMOOTHING,
) -> go.Figure:
    """Lines over an axis. Only `x_range` is drawn when given, so that zooming in shows every point again.

    smoothing: the share of what is shown that the moving average runs over, 0 for none.
    """
    lines = [lines_of(curve, axis, x_range=x_range, smoothing=smoothing) for curve in curves]
    layout = layout_of(title, axis, x_range=x_range or (0.0, max(x_total, axis_least(axis))), height=height)
    layout["hovermode"] = "x unified" if len(curves) > 1 else "x"
    layout["yaxis"] = y_axis(y_title, log_y=log_y)
    layout["shapes"], layout["annotations"] = _marks(marks, tuple(layout["xaxis"]["range"]))
    if sum(not curve.faint for curve in curves) > 1:
        ends = [_end(traces) for traces in lines]
        layout["annotations"] += _names(curves, ends, x_end=layout["xaxis"]["range"][1], log_y=log_y)
    return go.Figure(data=[trace for traces in lines for trace in traces], layout=layout)


def lines_of(curve: Curve, axis: Axis, *, x_range: Range | None, smoothing: float) -> list[dict[str, Any]]:
    """The traces of one curve, the main line last: at most POINTS points with every spike, and their mean in front.

    The mean is taken over all values, not over those that are drawn, so that it tells no more than there is.
    """
    inside = np.isfinite(curve.y) & np.isfinite(curve.x)
    if x_range is not None:
        inside &= (curve.x >= x_range[0]) & (curve.x <= x_range[1])
    all_x, all_y = (curve.x, curve.y) if inside.all() else (curve.x[inside], curve.y[inside])
    x, y = bucket_min_max(all_x, all_y, POINTS)
    traces: list[dict[str, Any]] = []
    few = curve.markers and len(x) <= MOST_MARKERS
    if curve.smooth and smoothing > 0 and len(x) > 8 and not few:
        faint = {"color": curve.ink.line, "width": 1}
        opacity = 0.14 if curve.faint else 0.28
        traces.append(
            {
                "type": "scatter",
                "x": x,
                "y": y,
                "mode": "lines",
                "line": faint,
                "opacity": opacity,
                "hoverinfo": "skip",
                "showlegend": False,
            }
        )
        x, y = bucket_mean(all_x, all_y, SMOOTH_POINTS)
        y = smoothed(y, smoothing)
    dots = len(x) < 3 or few
    line = {"color": curve.ink.line, "width": 2, "dash": "dot" if curve.dashed else "solid"}
    main = {
        "type": "scatter",
        "x": x,
        "y": y,
        "mode": "lines+markers" if dots else "lines",
        "line": line,
        "marker": {"size": 5},
        "name": as_text(curve.name),
        "opacity": 0.45 if curve.faint else 1.0,
        "hovertemplate": f"{axis.hover}<br>%{{y:.4g}}<extra>{as_text(curve.name)}</extra>",
    }
    return [*traces, main]


def layout_of(title: str, axis: Axis, *, x_range: Range, height: int) -> dict[str, Any]:
    """What all curve charts have in common."""
    return frame(
        title,
        height=height,
        showlegend=False,
        dragmode="zoom",
        x=axis.title,
        xaxis={"range": list(x_range), "tickformat": axis.tickformat},
    )


def y_axis(title: str, *, log_y: bool) -> dict[str, Any]:
    """Plain powers of ten on a log axis; a linear one of positive values starts at zero."""
    kind = "log" if log_y else "linear"
    return {
        "title": {"text": title},
        "type": kind,
        "dtick": "D2" if log_y else None,
        "exponentformat": "e",
        "rangemode": "nonnegative",
        "fixedrange": True,
    }


def axis_end(last: float, total: float) -> float:
    """Where the axis of a run ends that is at `last` of `total`: at the half, quarter, eighth … that still shows it.

    A young run fills its chart, and the axis jumps only when the run outgrows it.
    """
    end = max(last, total)
    while 0 < last <= end / 2.2:
        end /= 2
    return end


def axis_least(axis: Axis) -> float:
    """The shortest axis that is drawn: a step, a picture, a second."""
    return 1.0 / axis.unit


def _end(traces: Sequence[dict[str, Any]]) -> Range | None:
    """Where a line ends (x, y), or None when nothing of it is drawn."""
    x, y = traces[-1]["x"], traces[-1]["y"]
    return (float(x[-1]), float(y[-1])) if len(x) else None


def _marks(marks: Sequence[Mark], shown: Range) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Thin lines, and words where there is room for them."""
    shapes: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []
    free_from = float("-inf")
    for mark in sorted(marks, key=lambda mark: mark.x):
        if not shown[0] <= mark.x <= shown[1]:
            continue
        shapes.append(
            {
                "type": "line",
                "x0": mark.x,
                "x1": mark.x,
                "xref": "x",
                "y0": 0,
                "y1": 1,
                "yref": "y domain",
                "line": {"color": mark.ink.line, "width": 1, "dash": "dot"},
            }
        )
        if mark.text and mark.x >= free_from:
            free_from = mark.x + WORDS_APART * (shown[1] - shown[0])
            late = mark.x > shown[1] - WORDS_APART * (shown[1] - shown[0])
            side = "right" if late else "left"
            at: dict[str, Any] = {"xref": "x", "xanchor": side, "yref": "y domain", "yanchor": "top"}
            at["xshift"] = -4 if late else 4
            words.append(note(mark.text, mark.x, 1, mark.ink.text, size=11, **at))
    return shapes, words


def _names(curves: Sequence[Curve], ends: Sequence[Range | None], *, x_end: float, log_y: bool) -> list[dict[str, Any]]:
    """Names at the ends of the lines: above the line that ends highest, below the others; faint ones have none."""
    named = [(curve, end) for curve, end in zip(curves, ends, strict=True) if end and curve.name and not curve.faint]
    highest = max((end for _, end in named), key=lambda end: end[1], default=None)
    notes = []
    for curve, end in named:
        x, y = end
        above = end is highest
        at: dict[str, Any] = {
            "xanchor": "right" if x > x_end * 0.7 else "left",
            "yanchor": "bottom" if above else "top",
            "yshift": 4 if above else -4,
        }
        notes.append(note(curve.name, x, float(np.log10(y)) if log_y and y > 0 else y, curve.ink.text, **at))
    return notes


def missing_values(x: np.ndarray, y: np.ndarray, ink: Ink, most: int = 20) -> list[Mark]:
    """Marks at the first `most` steps whose value was NaN or infinite; only the first mark has the word."""
    steps = x[~np.isfinite(y)][:most]
    return [Mark(x=float(step), ink=ink, text="" if index else "not a number") for index, step in enumerate(steps)]


def smoothed(values: np.ndarray, share: float = SMOOTHING) -> np.ndarray:
    """Centred moving average over a share of the line, so that it neither lags nor leads; values (N,) finite."""
    window = int(len(values) * share)
    if window < 2:
        return values
    return pd.Series(values).rolling(window | 1, center=True, min_periods=1).mean().to_numpy()


def spans_decades(y: np.ndarray) -> bool:
    """True when positive values span more than a factor of 20: a linear axis would show a flat line."""
    known = y[np.isfinite(y)]
    return bool(len(known) and known.min() > 0 and known.max() / known.min() > 20)
