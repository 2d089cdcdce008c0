"""Loss against t: the mean with its uncertainty, one line a run, and what a guess without a network would get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from lab.charts.curves import as_text
from lab.charts.palette import categories, palette


@dataclass(frozen=True, kw_only=True)
class LossCurve:
    """One run's errors: x, mean and standard error (P,). guess: what the best linear guess gets, or None."""

    name: str
    x: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    guess: np.ndarray | None = None


def loss_figure(
    curves: Sequence[LossCurve], *, title: str, x_title: str, log_y: bool, theme: str | None = None
) -> go.Figure:
    """Means with a band of two standard errors; the guesses are dotted and faint."""
    inks, faint = categories(theme), palette(theme).event
    figure = go.Figure()
    for place, curve in enumerate(curves):
        ink, name = inks[place % len(inks)], as_text(curve.name)
        low, high = curve.mean - 2 * curve.error, curve.mean + 2 * curve.error
        if log_y:
            low = np.maximum(low, curve.mean * 1e-2)
        figure.add_scatter(
            x=np.concatenate([curve.x, curve.x[::-1]]), y=np.concatenate([high, low[::-1]]), fill="toself",
            mode="lines", line={"width": 0}, fillcolor=ink, opacity=0.2, hoverinfo="skip", showlegend=False,
        )  # fmt: skip
        figure.add_scatter(
            x=curve.x, y=curve.mean, mode="lines+markers", name=name, line={"color": ink, "width": 2},
            marker={"size": 5}, customdata=2 * curve.error,
            hovertemplate=f"{as_text(x_title)} %{{x:.4g}}<br>%{{y:.4g}} ± %{{customdata:.2g}}<extra>{name}</extra>",
        )  # fmt: skip
        if curve.guess is not None:
            figure.add_scatter(
                x=curve.x, y=curve.guess, mode="lines", name=f"best linear guess, {name}",
                line={"color": faint.line, "width": 1, "dash": "dot" if place == 0 else "dash"},
            )  # fmt: skip
    figure.update_layout(
        title={"text": as_text(title), "font": {"size": 14}, "x": 0, "xanchor": "left"}, height=380,
        margin={"l": 8, "r": 8, "t": 36, "b": 8}, hovermode="closest",
        xaxis={"title": {"text": x_title}},
        yaxis={
            "title": {"text": "mean squared error"}, "type": "log" if log_y else "linear", "exponentformat": "power",
        },
        legend={"orientation": "h", "y": -0.2},
    )  # fmt: skip
    return figure
