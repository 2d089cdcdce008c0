"""Several runs in one chart: a line and a colour a run, its name at the end of its line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from lab.widgets.chart import Range, note
from lab.widgets.curves import AXES, SMOOTHING, Axis, Curve, axis_least, layout_of, lines_of, y_axis

LABEL_PX = 17
CHARACTER_PX = 7
MOST_CHARACTERS = 26


def overlay_figure(
    curves: Sequence[Curve],
    *,
    title: str,
    x_total: float,
    x_range: Range | None = None,
    log_y: bool = False,
    height: int = 460,
    axis: Axis = AXES["steps"],
    smoothing: float = SMOOTHING,
) -> go.Figure:
    """The same metric of several runs; names stand right of the chart, at the height where the lines end.

    `ink.line` of a curve is its colour, `ink.text` the colour of its name; one without a name has none.
    """
    lines = [lines_of(curve, axis, x_range=x_range, smoothing=smoothing) for curve in curves]
    layout = layout_of(title, axis, x_range=x_range or (0.0, max(x_total, axis_least(axis))), height=height)
    low, high = _limits([trace["y"] for traces in lines for trace in traces], log_y=log_y)
    layout["hovermode"] = "x unified"
    layout["yaxis"] = {**y_axis("", log_y=log_y), "range": [low, high], "rangemode": "normal"}
    longest = max((len(_short(curve.name)) for curve in curves), default=0)
    layout["margin"]["r"] = 28 + CHARACTER_PX * longest
    layout["annotations"] = _names(curves, [traces[-1]["y"] for traces in lines], low, high, log_y=log_y, height=height)
    return go.Figure(data=[trace for traces in lines for trace in traces], layout=layout)


def _limits(drawn: Sequence[np.ndarray], *, log_y: bool) -> Range:
    """The range of the y-axis, in powers of ten on a log axis; a linear one of positive values starts at zero."""
    values = np.concatenate([np.zeros(0), *drawn])
    if log_y:
        values = np.log10(values[values > 0])
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    return (0.0 if low >= 0 and not log_y else low - room), high + room


def _names(
    curves: Sequence[Curve], drawn: Sequence[np.ndarray], low: float, high: float, *, log_y: bool, height: int
) -> list[dict[str, Any]]:
    """A dot in the line's colour and the name, pushed apart where lines end close together."""
    ends = []
    for curve, y in zip(curves, drawn, strict=True):
        if curve.name and len(y) and (y[-1] > 0 or not log_y):
            end = float(np.log10(y[-1])) if log_y else float(y[-1])
            ends.append(((end - low) / (high - low), curve))
    ends.sort(key=lambda end: end[0])
    apart = LABEL_PX / max(1, height - 80)
    places: list[float] = []
    for place, _ in ends:
        places.append(max(place, places[-1] + apart) if places else place)
    too_high = max(0.0, places[-1] - 1.0) if places else 0.0
    notes = []
    for place, (_, curve) in zip(places, ends, strict=True):
        dot = f'<span style="color:{curve.ink.line}">●</span>'
        at: dict[str, Any] = {"xref": "paper", "xanchor": "left", "xshift": 4, "yref": "y domain", "yanchor": "middle"}
        words = note(_short(curve.name), 1, place - too_high, curve.ink.text, **at)
        notes.append({**words, "text": f"{dot} {words['text']}"})
    return notes


def _short(name: str) -> str:
    return name if len(name) <= MOST_CHARACTERS else name[: MOST_CHARACTERS - 1] + "…"
