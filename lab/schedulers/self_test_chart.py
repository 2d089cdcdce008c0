"""Solver error against network evaluations, and what comes out beside what should."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from core.diffusion.solver_curve import SampleDensity
from lab.widgets.chart import as_text, frame, note
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
            at = (np.log10(end), np.log10(guide[1]))
            figure.add_annotation(note(f"order {order}", *at, faint.text, size=11, xanchor="right", yanchor="bottom"))
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
    layout = frame(title, height=420, x="network evaluations", y="error, in standard deviations of the data")
    figure.update_layout(layout, hovermode="closest")
    figure.update_xaxes(type="log", tickvals=[5, 10, 20, 50, 100, 200])
    return figure.update_yaxes(type="log", exponentformat="power")


def histogram_figure(density: SampleDensity, *, title: str, theme: str | None = None) -> go.Figure:
    """The true density as a line, what the sampler made as bars."""
    colors = palette(theme)
    figure = go.Figure()
    bars, line = {"color": colors.held_out.line}, {"color": colors.training.line, "width": 2}
    figure.add_bar(x=density.centers, y=density.found, name="sampled", marker=bars, opacity=0.6)
    figure.add_scatter(x=density.x, y=density.truth, mode="lines", name="true", line=line)
    legend = {"orientation": "h", "y": 1.12, "x": 1, "xanchor": "right"}
    return figure.update_layout(frame(title, height=300, x="value", y="density", bargap=0.05, legend=legend))
