"""Schedules drawn: one quantity of several schedules, the timesteps samplers visit, SNR a latent channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from lab.widgets.chart import as_text, frame, note
from lab.widgets.palette import categories

POINTS = 500
MOST_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class Line:
    """One schedule's quantity: x and y (T,), not finite where it is not defined."""

    name: str
    x: np.ndarray
    y: np.ndarray
    faint: bool = False


def schedule_figure(
    lines: Sequence[Line],
    *,
    title: str,
    x_title: str,
    y_title: str,
    log_x: bool = False,
    log_y: bool = False,
    theme: str | None = None,
    height: int = 360,
) -> go.Figure:
    """Up to six lines; four are named beside them, more have a legend. A log axis leaves out what it cannot show."""
    inks = categories(theme)
    figure = go.Figure()
    named = len(lines) <= MOST_NAMED
    for place, line in enumerate(lines):
        x, y = _drawable(line, log_x=log_x, log_y=log_y)
        ink = inks[place % len(inks)]
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            name=as_text(line.name),
            showlegend=not named,
            line={"color": ink, "width": 1 if line.faint else 2, "dash": "dot" if line.faint else "solid"},
            hovertemplate=f"{as_text(x_title)} %{{x:.4g}}<br>%{{y:.4g}}<extra>{as_text(line.name)}</extra>",
        )
    figure.update_layout(
        frame(title, height=height, x=x_title, y=y_title, hovermode="closest", legend={"orientation": "h", "y": -0.25})
    )
    figure.update_xaxes(type="log" if log_x else "linear", exponentformat="power")
    figure.update_yaxes(type="log" if log_y else "linear", exponentformat="power")
    if named:
        figure.update_layout(annotations=_names(figure, lines, log_x=log_x, log_y=log_y))
    return figure


def visited_figure(
    visits: Mapping[str, np.ndarray], *, num_train_timesteps: int, theme: str | None = None
) -> go.Figure:
    """One row of ticks a sampler at the timesteps it visits; sampling runs from right to left."""
    ink = categories(theme)[0]
    figure = go.Figure()
    for name, steps in visits.items():
        figure.add_scatter(
            x=steps,
            y=[as_text(name)] * len(steps),
            mode="markers",
            showlegend=False,
            marker={"symbol": "line-ns", "size": 14, "line": {"color": ink, "width": 2}},
            hovertemplate=f"{as_text(name)} visits t = %{{x:.0f}}<extra></extra>",
        )
    figure.update_layout(frame("Timesteps each sampler visits", height=84 + 26 * max(1, len(visits)), x="t"))
    figure.update_xaxes(range=[-0.01 * num_train_timesteps, 1.01 * num_train_timesteps])
    return figure.update_yaxes(autorange="reversed", type="category", showgrid=False)


def _drawable(line: Line, *, log_x: bool, log_y: bool) -> tuple[np.ndarray, np.ndarray]:
    """The points that the axes can show, thinned evenly to at most POINTS, ends kept."""
    good = np.isfinite(line.x) & np.isfinite(line.y)
    if log_x:
        good &= line.x > 0
    if log_y:
        good &= line.y > 0
    x, y = line.x[good], line.y[good]
    if not len(x):
        return x, y
    keep = np.unique(np.linspace(0, len(x) - 1, POINTS).round().astype(int))
    return x[keep], y[keep]


def _names(figure: go.Figure, lines: Sequence[Line], *, log_x: bool, log_y: bool) -> list[dict[str, Any]]:
    """Each line's name beside it, at a place of its own along the line, so that names do not cover each other."""
    notes = []
    for place, (trace, line) in enumerate(zip(figure.data, lines, strict=True)):
        if not len(trace.x):
            continue
        at = int((0.35 + 0.3 * place / max(1, len(lines) - 1)) * (len(trace.x) - 1))
        x, y = float(trace.x[at]), float(trace.y[at])
        x, y = np.log10(x) if log_x else x, np.log10(y) if log_y else y
        beside: dict[str, Any] = {"xanchor": "left", "yanchor": "bottom", "xshift": 4, "yshift": 2}
        notes.append(note(line.name, x, y, trace.line.color, **beside))
    return notes
