"""Charts of latents: quality by class, histograms against N(0, 1), what a channel carries, correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from lab.widgets.chart import LEGEND_ABOVE, as_text, frame
from lab.widgets.latent_colors import colorscale
from lab.widgets.palette import categories, palette


def class_figure(quantiles: Mapping[str, np.ndarray], *, theme: str | None = None) -> go.Figure:
    """PSNR of pictures by class: quantiles 5, 25, 50, 75, 95 % each."""
    ink = categories(theme)[0]
    values = np.array(list(quantiles.values()))
    figure = go.Figure()
    figure.add_box(
        x=[as_text(name) for name in quantiles],
        lowerfence=values[:, 0],
        q1=values[:, 1],
        median=values[:, 2],
        q3=values[:, 3],
        upperfence=values[:, 4],
        marker={"color": ink},
        line={"width": 1.5},
        name="",
    )
    layout = _frame("PSNR of images by class, higher is better", "class", "PSNR, dB")
    return figure.update_layout(layout).update_xaxes(type="category")


def histogram_figure(
    lines: Sequence[tuple[str, np.ndarray, np.ndarray]], *, theme: str | None = None, span: float = 5.0
) -> go.Figure:
    """(name, x, density) a channel, and the density of N(0, 1) dotted."""
    figure = go.Figure()
    inks = categories(theme)
    x = np.linspace(-span, span, 201)
    for place, (name, at, density) in enumerate(lines):
        figure.add_scatter(
            x=at,
            y=density,
            mode="lines",
            name=as_text(name),
            line={"color": inks[place % len(inks)], "width": 2, "shape": "hvh"},
            hovertemplate=f"%{{y:.3g}}<extra>{as_text(name)}</extra>",
        )
    figure.add_scatter(
        x=x,
        y=np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
        mode="lines",
        name="N(0, 1)",
        line={"color": palette(theme).event.text, "width": 2, "dash": "dot"},
        hoverinfo="skip",
    )
    tallest = max([float(density.max()) for _, _, density in lines] + [0.4])
    layout = _frame("Posterior means of each channel against N(0, 1)", "latent value", "density")
    figure.update_layout(layout, showlegend=True, legend=LEGEND_ABOVE)
    return figure.update_xaxes(range=[-span, span]).update_yaxes(range=[0, min(tallest, 2.0) * 1.05])


def channel_bars(kl: np.ndarray, active: np.ndarray, units: int, *, theme: str | None = None) -> go.Figure:
    """KL a channel, with its share of active values written above."""
    figure = go.Figure()
    names = [str(place + 1) for place in range(len(kl))]
    figure.add_bar(
        x=names,
        y=kl,
        marker={"color": categories(theme)[0]},
        textposition="outside",
        cliponaxis=False,
        text=[f"{count / units:.0%} active" for count in active],
        hovertemplate="channel %{x}: %{y:.4g} nats, %{text}<extra></extra>",
    )
    figure.update_layout(_frame("What each channel carries, nats per image", "channel", "KL from N(0, 1)"))
    return figure.update_yaxes(rangemode="tozero", range=[0, max(float(kl.max()) * 1.18, 0.1)])


def correlation_figure(correlation: np.ndarray, *, theme: str | None = None) -> go.Figure:
    """Pearson's correlation between channels, blue -1 to red +1."""
    names = [str(place + 1) for place in range(len(correlation))]
    small = len(names) <= 8
    figure = go.Figure()
    figure.add_heatmap(
        z=correlation,
        x=names,
        y=names,
        zmin=-1,
        zmax=1,
        colorscale=colorscale(theme),
        xgap=2,
        ygap=2,
        texttemplate="%{z:.2f}" if small else None,
        hovertemplate="channels %{x} and %{y}: %{z:.3f}<extra></extra>",
        colorbar={"thickness": 8, "outlinewidth": 0},
    )
    figure.update_layout(_frame("Correlation between channels, 0 is best", "channel", "channel"))
    figure.update_xaxes(type="category", constrain="domain")
    return figure.update_yaxes(type="category", autorange="reversed", scaleanchor="x", constrain="domain")


def over_steps_figure(
    steps: Sequence[int], lines: Mapping[str, Sequence[float]], *, title: str, y_title: str, theme: str | None = None
) -> go.Figure:
    """A statistic a line over the kept checkpoints."""
    figure, inks = go.Figure(), categories(theme)
    for place, (name, values) in enumerate(lines.items()):
        figure.add_scatter(
            x=list(steps),
            y=list(values),
            mode="lines+markers",
            name=as_text(name),
            line={"color": inks[place % len(inks)], "width": 2},
            hovertemplate=f"step %{{x:,}}: %{{y:.4g}}<extra>{as_text(name)}</extra>",
        )
    layout = frame(title, height=260, top=44, x="training step", y=y_title, legend=LEGEND_ABOVE)
    return figure.update_layout(layout, showlegend=len(lines) > 1)


def _frame(title: str, x_title: str, y_title: str) -> dict[str, Any]:
    return frame(title, height=320, top=44, x=x_title, y=y_title, showlegend=False)
