"""Solver error against network evaluations, and what comes out beside what should."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from lab.widgets.curves import as_text
from lab.widgets.palette import categories, palette

DASHES = ("solid", "dot")  # beyond six lines the colours come again, dotted
SYMBOLS = ("circle", "diamond")


def error_figure(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], *, title: str, theme: str | None = None
) -> go.Figure:
    """name → (evaluations (n,), errors (n,)); both axes logarithmic. Guides show halving and quartering a doubling."""
    inks, faint = categories(theme), palette(theme).event
    figure = go.Figure()
    known = [(x[good], y[good]) for x, y in curves.values() if (good := np.isfinite(y) & (y > 0)).any()]
    if known:
        start, end = min(float(x.min()) for x, _ in known), max(float(x.max()) for x, _ in known)
        top = max(float(y.max()) for _, y in known)
        for order in (1, 2):
            guide = top * (np.array([start, end]) / start) ** -float(order)
            figure.add_scatter(
                x=[start, end],
                y=guide,
                mode="lines",
                hoverinfo="skip",
                showlegend=False,
                line={"color": faint.line, "width": 1, "dash": "dash"},
            )
            figure.add_annotation(
                x=np.log10(end),
                y=np.log10(guide[1]),
                text=f"order {order}",
                showarrow=False,
                xanchor="right",
                yanchor="bottom",
                font={"color": faint.text, "size": 11},
            )
    for place, (name, (x, y)) in enumerate(curves.items()):
        good = np.isfinite(y) & (y > 0)
        turn = place // len(inks) % len(DASHES)
        figure.add_scatter(
            x=x[good],
            y=y[good],
            mode="lines+markers",
            name=as_text(name),
            line={"color": inks[place % len(inks)], "width": 2, "dash": DASHES[turn]},
            marker={"size": 7, "symbol": SYMBOLS[turn]},
            hovertemplate=f"{as_text(name)}<br>%{{x}} evaluations<br>error %{{y:.3g}}<extra></extra>",
        )
    figure.update_layout(
        title={"text": title, "font": {"size": 14}, "x": 0, "xanchor": "left"},
        height=420,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        hovermode="closest",
        xaxis={"title": {"text": "network evaluations"}, "type": "log", "tickvals": [5, 10, 20, 50, 100, 200]},
        yaxis={"title": {"text": "error, in deviations of the data"}, "type": "log", "exponentformat": "power"},
    )
    return figure


def histogram_figure(
    x: np.ndarray, truth: np.ndarray, centres: np.ndarray, found: np.ndarray, *, title: str, theme: str | None = None
) -> go.Figure:
    """The true density as a line, what the sampler made as bars."""
    colors = palette(theme)
    figure = go.Figure()
    figure.add_bar(x=centres, y=found, name="sampled", marker={"color": colors.held_out.line}, opacity=0.6)
    figure.add_scatter(x=x, y=truth, mode="lines", name="true", line={"color": colors.training.line, "width": 2})
    figure.update_layout(
        title={"text": as_text(title), "font": {"size": 14}, "x": 0, "xanchor": "left"},
        height=300,
        bargap=0.05,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        xaxis={"title": {"text": "value"}},
        yaxis={"title": {"text": "density"}},
        legend={"orientation": "h", "y": 1.12, "x": 1, "xanchor": "right"},
    )
    return figure
