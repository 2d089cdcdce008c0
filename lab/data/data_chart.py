"""Class balance and values of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from lab.widgets.chart import as_text, frame
from lab.widgets.palette import categories, palette

HEIGHT = 300
CHANNELS = ("red", "green", "blue")
CHANNEL_LINES = ("#DC2626", "#16A34A", "#2563EB")
MOST_BARS = 100
LEGEND = {"orientation": "h", "y": 1.12, "x": 1, "xanchor": "right"}


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
    figure.update_xaxes(tickvals=places[: len(shown)], ticktext=[text[:14] for text in shown], showgrid=False)
    figure.update_yaxes(tickformat=",")
    layout = frame("Pictures a class", x="class", y="pictures", height=HEIGHT, barmode="group", bargap=0.25)
    return figure.update_layout(layout, legend=LEGEND)


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
    figure.update_yaxes(type="log", tickformat=".1%", dtick=1)
    layout = frame("Pixel values", x="value, 0 black to 255 white", y="share of pixels", height=HEIGHT)
    return figure.update_layout(layout, legend=LEGEND)
