"""Curves of a run: loss, learning rate, gradient norm. Raw values faint, the smoothed line in front, NaNs marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.runs.metrics import bucket_min_max
from lab.charts.palette import Ink

POINTS = 1500
Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line: x and y (N,). smooth: raw values faint behind a smoothed line; markers: a dot a point."""

    name: str
    ink: Ink
    x: np.ndarray
    y: np.ndarray
    smooth: bool = False
    markers: bool = False


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something that happened at a step: a thin line, and a word on top when given."""

    x: float
    ink: Ink
    text: str = ""


def curve_figure(
    curves: Sequence[Curve],
    *,
    title: str,
    y_title: str,
    x_total: int,
    x_range: Range | None = None,
    log_y: bool = False,
    height: int = 340,
    marks: Sequence[Mark] = (),
) -> go.Figure:
    """Lines over the step. Only `x_range` is drawn when given, so that zooming in shows every point again."""
    figure = go.Figure()
    x_end = x_range[1] if x_range else x_total
    ends = [_add(figure, curve, x_range) for curve in curves]
    if len(curves) > 1:
        _name_lines(figure, curves, ends, x_end=x_end, log_y=log_y)
    for mark in marks:
        if x_range is None or x_range[0] <= mark.x <= x_range[1]:
            figure.add_vline(
                x=mark.x,
                line={"color": mark.ink.line, "width": 1, "dash": "dot"},
                annotation={"text": mark.text, "font": {"color": mark.ink.text, "size": 11}} if mark.text else None,
            )
    figure.update_layout(
        title={"text": title, "font": {"size": 14}, "x": 0, "xanchor": "left"},
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        showlegend=False,
        hovermode="x unified" if len(curves) > 1 else "x",
        dragmode="select",
        selectdirection="h",
    )
    figure.update_xaxes(title="step", range=list(x_range) if x_range else [0, max(1, x_total)], tickformat=",d")
    figure.update_yaxes(title=y_title, type="log" if log_y else "linear", dtick="D2" if log_y else None,
                        exponentformat="e", rangemode="nonnegative")  # fmt: skip
    return figure


def _add(figure: go.Figure, curve: Curve, x_range: Range | None) -> Range | None:
    """Draw one line; returns where it ends (x, y), or None when nothing of it is drawn."""
    inside = np.isfinite(curve.y)
    if x_range is not None:
        inside &= (curve.x >= x_range[0]) & (curve.x <= x_range[1])
    x, y = bucket_min_max(curve.x[inside], curve.y[inside], POINTS)
    hover = "step %{x:,}<br>%{y:.4g}<extra>" + curve.name + "</extra>"
    if curve.smooth and len(x) > 8:
        faint = {"color": curve.ink.line, "width": 1}
        figure.add_scatter(x=x, y=y, mode="lines", line=faint, opacity=0.28, hoverinfo="skip")
        y = smoothed(y)
    mode = "lines+markers" if len(x) < 3 or (curve.markers and len(x) <= 60) else "lines"
    line = {"color": curve.ink.line, "width": 2}
    figure.add_scatter(x=x, y=y, mode=mode, line=line, marker={"size": 5}, name=curve.name, hovertemplate=hover)
    return (float(x[-1]), float(y[-1])) if len(x) else None


def _name_lines(
    figure: go.Figure, curves: Sequence[Curve], ends: Sequence[Range | None], *, x_end: float, log_y: bool
) -> None:
    """Names at the ends of the lines: above the line that ends highest, below the others."""
    highest = max((end for end in ends if end), key=lambda end: end[1], default=None)
    for curve, end in zip(curves, ends, strict=True):
        if end is None:
            continue
        x, y = end
        above = end is highest
        figure.add_annotation(
            x=x,
            y=float(np.log10(y)) if log_y and y > 0 else y,
            text=curve.name,
            font={"color": curve.ink.text, "size": 12},
            showarrow=False,
            xanchor="right" if x > x_end * 0.7 else "left",
            yanchor="bottom" if above else "top",
            yshift=4 if above else -4,
        )


def missing_values(x: np.ndarray, y: np.ndarray, ink: Ink, most: int = 20) -> list[Mark]:
    """Marks at the first `most` steps whose value was NaN or infinite; only the first mark has the word."""
    steps = x[~np.isfinite(y)][:most]
    return [Mark(x=float(step), ink=ink, text="" if index else "not a number") for index, step in enumerate(steps)]


def smoothed(values: np.ndarray, points: int = 30) -> np.ndarray:
    """Centred moving average over a `points`-th of the line, so that it neither lags nor leads; values (N,) finite."""
    window = len(values) // points
    if window < 2:
        return values
    return pd.Series(values).rolling(window | 1, center=True, min_periods=1).mean().to_numpy()


def spans_decades(y: np.ndarray) -> bool:
    """True when positive values span more than a factor of 20: a linear axis would show a flat line."""
    known = y[np.isfinite(y)]
    return bool(len(known) and known.min() > 0 and known.max() / known.min() > 20)


def sparkline(y: np.ndarray, points: int = 40) -> list[float]:
    """At most `points` finite values for a small line in a table."""
    known = y[np.isfinite(y)]
    if len(known) <= points:
        return [float(value) for value in known]
    picked = np.linspace(0, len(known) - 1, points).round().astype(int)
    return [float(value) for value in known[picked]]
