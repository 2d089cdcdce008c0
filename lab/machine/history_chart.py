"""How full the machine was: a line a device over the time of day, broken where nobody measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from lab.widgets.chart import frame, note

MOST_NAMED = 4
GAP_FACTOR = 4.0
HEIGHT = 240  # pixels
LEAST_DISTANCE = 0.09  # of names, as a share of the height


@dataclass(frozen=True, kw_only=True)
class HistoryLine:
    """One device: x (N,) datetime64, y (N,) shares from 0 to 1, NaN where unknown."""

    name: str
    color: str
    x: np.ndarray
    y: np.ndarray


def history_figure(lines: Sequence[HistoryLine], *, title: str, start: np.datetime64, end: np.datetime64) -> go.Figure:
    """Shares of 100 % over the time from `start` to `end`; names at the ends of the lines, a legend beyond four."""
    figure = go.Figure()
    for line in lines:
        x, y = with_gaps(line.x, line.y)
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            name=line.name,
            connectgaps=False,
            line={"color": line.color, "width": 2},
            hovertemplate="%{y:.0%}<extra>" + line.name + "</extra>",
        )
    named = len(lines) <= MOST_NAMED
    if named and len(lines) > 1:
        _name_ends(figure, lines)
    figure.update_layout(frame(title, height=HEIGHT))
    figure.update_layout(
        margin={"r": 64 if named and len(lines) > 1 else 8},
        showlegend=not named,
        legend={"orientation": "h", "y": -0.2},
        hovermode="x unified",
        dragmode=False,
    )
    figure.update_xaxes(range=[start, end], fixedrange=True, nticks=7, tickformat="%H:%M", hoverformat="%H:%M:%S")
    figure.update_yaxes(range=[0, 1.02], fixedrange=True, tickformat=".0%", tickvals=[0, 0.25, 0.5, 0.75, 1])
    return figure


def with_gaps(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The line with a NaN put into every pause of more than four usual distances, so that nothing is invented there."""
    if len(x) < 3:
        return x, y
    steps = np.diff(x)
    pauses = np.flatnonzero(steps > GAP_FACTOR * np.median(steps))
    return np.insert(x, pauses + 1, x[pauses] + steps[pauses] // 2), np.insert(y.astype(float), pauses + 1, np.nan)


def _name_ends(figure: go.Figure, lines: Sequence[HistoryLine]) -> None:
    """Names right of the last values, pushed apart where lines end close together."""
    ends = []
    for line in lines:
        known = np.flatnonzero(np.isfinite(line.y))
        if len(known):
            ends.append((float(line.y[known[-1]]), line))
    below = -1.0
    for y, line in sorted(ends, key=lambda end: end[0]):
        below = max(y, below + LEAST_DISTANCE)
        figure.add_annotation(note(line.name, 1, below, line.color, xref="paper", xanchor="left", xshift=6))
