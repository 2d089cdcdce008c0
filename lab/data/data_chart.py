"""Class balance and values of a dataset."""

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
LONE_WIDTH = 8  # pixel values: the widest bar, so that a bar stays a place on the axis
LEGEND = {"orientation": "h", "y": 1.12, "x": 1, "xanchor": "right"}


def balance_figure(
    names: Sequence[str], train: np.ndarray, heldout: np.ndarray, *, theme: str | None = None
) -> go.Figure:
    """Images per class, of both splits; at most the first 100 classes."""
    colors = palette(theme)
    labels = [as_text(name) for name in names[:MOST_BARS]]
    places = np.arange(len(labels))
    figure = go.Figure()
    for name, counts, ink in (("training", train, colors.training), ("held out", heldout, colors.held_out)):
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
    layout = frame("Images per class", x="class", y="images", height=HEIGHT, barmode="group", bargap=0.25)
    return figure.update_layout(layout, legend=LEGEND)


def values_figure(values: np.ndarray, *, theme: str | None = None) -> go.Figure:
    """values (C, 256): how often each value comes, as a share, on a logarithmic axis.

    A bar per value that occurs, as wide as the values lie apart (at most 8): sixteen gray levels are as visible as 256.
    """
    figure = go.Figure()
    inks = CHANNEL_LINES if len(values) == 3 else (categories(theme)[0],)
    present = np.flatnonzero(values.sum(axis=0))
    width = min(int(np.diff(present).min(initial=256)), LONE_WIDTH)
    for channel, (counts, ink) in enumerate(zip(values, inks, strict=True)):
        name = CHANNELS[channel] if len(values) == 3 else "gray"
        found = np.flatnonzero(counts)
        figure.add_bar(
            x=found,
            y=counts[found] / max(counts.sum(), 1),
            width=np.full(len(found), width),
            name=name,
            marker={"color": ink, "line": {"width": 0}},
            opacity=0.5 if len(values) == 3 else 1.0,
            showlegend=len(values) == 3,
            hovertemplate=f"{name} %{{x}}: %{{y:.2%}}<extra></extra>",
        )
    figure.update_xaxes(range=[-LONE_WIDTH, 255 + LONE_WIDTH])
    figure.update_yaxes(type="log", tickformat=".1%", dtick=1)
    layout = frame("Pixel values", x="value, 0 black to 255 white", y="share of pixels", height=HEIGHT)
    return figure.update_layout(layout, legend=LEGEND, barmode="overlay", bargap=0)
