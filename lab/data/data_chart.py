"""Class balance and values of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from lab.widgets.curves import as_text
from lab.widgets.palette import categories, palette

HEIGHT = 300
CHANNELS = ("red", "green", "blue")
CHANNEL_LINES = ("#DC2626", "#16A34A", "#2563EB")
MOST_BARS = 100


def balance_figure(
    names: Sequence[str], train: np.ndarray, heldout: np.ndarray, *, theme: str | None = None
) -> go.Figure:
    """Pictures a class, of both splits; at most the first 100 classes."""
    colors = palette(theme)
    labels = [as_text(name) for name in names[:MOST_BARS]]
    places = np.arange(len(labels))
    figure = go.Figure()
    for name, counts, ink in (("to learn from", train, colors.training), ("held out", heldout, colors.held_out)):
        figure.add_bar(
            x=places,
            y=counts[:MOST_BARS],
            name=name,
            marker={"color": ink.line},
            customdata=labels,
            hovertemplate="%{customdata}<br>%{y:,} " + name + "<extra></extra>",
        )
    shown = labels if len(labels) <= 30 else []
    _layout(figure, "Pictures a class", "class", "pictures")
    figure.update_xaxes(tickvals=places[: len(shown)], ticktext=[text[:14] for text in shown], showgrid=False)
    figure.update_yaxes(tickformat=",")
    figure.update_layout(
        barmode="group", bargap=0.25, legend={"orientation": "h", "y": 1.12, "x": 1, "xanchor": "right"}
    )
    return figure


def values_figure(values: np.ndarray, *, theme: str | None = None) -> go.Figure:
    """values (C, 256): how often each value comes, as a share, on a logarithmic axis."""
    figure = go.Figure()
    inks = CHANNEL_LINES if len(values) == 3 else (categories(theme)[0],)
    for channel, (counts, ink) in enumerate(zip(values, inks, strict=True)):
        name = CHANNELS[channel] if len(values) == 3 else "grey"
        share = counts / counts.sum()
        figure.add_scatter(
            x=np.arange(256),
            y=np.where(share > 0, share, np.nan),
            name=name,
            mode="lines",
            line={"color": ink, "width": 1.5, "shape": "hvh"},
            showlegend=len(values) == 3,
            hovertemplate=f"{name} %{{x}}: %{{y:.2%}}<extra></extra>",
        )
    _layout(figure, "Pixel values", "value, 0 black to 255 white", "share of pixels")
    figure.update_yaxes(type="log", tickformat=".1%", dtick=1)
    figure.update_layout(legend={"orientation": "h", "y": 1.12, "x": 1, "xanchor": "right"})
    return figure


def _layout(figure: go.Figure, title: str, x: str, y: str) -> None:
    figure.update_layout(
        title={"text": title, "font": {"size": 14}, "x": 0, "xanchor": "left"},
        height=HEIGHT,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        xaxis={"title": {"text": x}},
        yaxis={"title": {"text": y}},
    )
