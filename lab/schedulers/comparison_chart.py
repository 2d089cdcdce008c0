"""Quality against cost of a sampler comparison: a line a row of the grid, the Pareto front, the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from lab.widgets.chart import as_text, frame, note
from lab.widgets.palette import Ink, categories, palette

SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x")
SPANS_DECADES = 12.0
HEIGHT = 430


@dataclass(frozen=True, kw_only=True)
class Point:
    """A cell in the chart: where it lies; marked: it is as good as the reference; words: what the hover says, which
    Plotly reads as HTML."""

    cost: float
    quality: float
    words: str
    marked: bool = False


@dataclass(frozen=True, kw_only=True)
class Series:
    """The cells of one row of the grid, cheapest first."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, kw_only=True)
class Level:
    """The reference: a line at its quality, a band as wide as its interval, its cost in words."""

    quality: float
    low: float
    high: float
    name: str


def quality_cost_figure(
    series: Sequence[Series],
    *,
    front: Sequence[tuple[float, float]],
    title: str,
    cost_title: str,
    quality_title: str,
    reference: Level | None = None,
    theme: str | None = None,
    percent: bool = False,
) -> go.Figure:
    """One colour and symbol a row; front: (cost, quality) of the cells that nothing beats, cheapest first.

    percent: the y-axis is a share, and higher is better. A distance over more than a decade gets a log axis.
    """
    ink = palette(theme)
    shown = [point for each in series for point in each.points]
    values = [point.quality for point in shown] + ([reference.quality] if reference else [])
    log_y = not percent and bool(values) and min(values) > 0 and max(values) / min(values) > SPANS_DECADES
    data: list[dict[str, Any]] = []
    if front:
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "Pareto front",
                "hoverinfo": "skip",
                "x": [cost for cost, _ in front],
                "y": [quality for _, quality in front],
                "line": {"color": ink.event.line, "width": 10},
                "opacity": 0.5,
            }
        )
    colors = categories(theme)
    for place, each in enumerate(series):
        points = sorted(each.points, key=lambda point: point.cost)
        if not points:
            continue
        color = colors[place % len(colors)]
        symbol = SYMBOLS[(place // len(colors)) % len(SYMBOLS)]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": as_text(each.name),
                "x": [point.cost for point in points],
                "y": [point.quality for point in points],
                "line": {"color": color, "width": 1.5, "dash": "solid" if place < len(colors) else "dot"},
                "marker": {
                    "color": color,
                    "symbol": [f"{symbol}" if point.marked else f"{symbol}-open" for point in points],
                    "size": 9,
                    "line": {"width": 1.5, "color": color},
                },
                "text": [point.words for point in points],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    layout = _layout(title, cost_title, quality_title, percent=percent, log_y=log_y)
    if log_y:
        layout["yaxis"] |= {"range": _decades(min(values) / 1.5, max(values))}
    if reference is not None:
        layout["shapes"], layout["annotations"] = _level(reference, ink.held_out, log_y=log_y)
    return go.Figure(data=data, layout=layout)


def _decades(low: float, high: float) -> list[float]:
    room = 0.06 * (math.log10(high) - math.log10(low)) or 0.1
    return [math.log10(low) - room, math.log10(high) + room]


def _layout(title: str, cost_title: str, quality_title: str, *, percent: bool, log_y: bool) -> dict[str, Any]:
    return frame(
        title,
        height=HEIGHT,
        top=40,
        hovermode="closest",
        legend={"orientation": "v", "x": 1.01, "y": 1, "yanchor": "top", "title": {"text": ""}},
        x=cost_title,
        xaxis={"type": "log", "dtick": "D2", "exponentformat": "none", "tickformat": "~s"},
        y=quality_title,
        yaxis={
            "type": "log" if log_y else "linear",
            "dtick": "D2" if log_y else None,
            "tickformat": ".0%" if percent else "~g",
            "rangemode": "normal" if percent or log_y else "tozero",
        },
    )


def _level(reference: Level, ink: Ink, *, log_y: bool) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A dashed line and its band over the whole width; its name stands below it, where few cells are."""
    low = max(reference.low, reference.quality / 3) if log_y else reference.low
    across = {"xref": "x domain", "x0": 0, "x1": 1, "yref": "y"}
    band = {
        "type": "rect",
        **across,
        "y0": low,
        "y1": reference.high,
        "fillcolor": ink.line,
        "opacity": 0.15,
        "line": {"width": 0},
        "layer": "below",
    }
    line = {
        "type": "line",
        **across,
        "y0": reference.quality,
        "y1": reference.quality,
        "line": {"color": ink.line, "width": 1.5, "dash": "dash"},
    }
    y = math.log10(reference.quality) if log_y and reference.quality > 0 else reference.quality
    at: dict[str, Any] = {"xref": "x domain", "xanchor": "left", "yref": "y", "yanchor": "top"}
    return [band, line], [note(reference.name, 0, y, ink.text, **at)]
