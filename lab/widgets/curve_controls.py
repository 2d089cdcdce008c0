"""How curves are looked at: smoothing, log scale, x-axis, and a zoom that survives every refresh of the chart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from lab.widgets.chart import Range, show_chart
from lab.widgets.curves import AXES, SMOOTHING, Axis

MOST_SMOOTHING = 20


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the controls say. state: where the zoom of this axis is kept."""

    axis: Axis
    smoothing: float
    log_y: bool
    zoom: Range | None
    state: str

    def positions(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """(L,) Where the lines stand on the x-axis."""
        return columns[self.axis.key] / self.axis.unit if self.axis.unit != 1 else columns[self.axis.key]


def curve_controls(name: str, *, log_y: bool, axes: tuple[str, ...]) -> Look:
    """The row of controls; draw it in a horizontal container. name: whose zoom and log scale; log_y: the default."""
    percent = st.slider(
        "Smoothing",
        0,
        MOST_SMOOTHING,
        round(SMOOTHING * 100),
        format="%d %%",
        key="curves-smoothing",
        width=150,
        help="A moving average over this share of what is shown. The raw values stay visible behind it.",
    )
    chosen = st.segmented_control("Over", axes, default=axes[0], required=True, key="curves-axis", width="content")
    log_y = st.toggle("log scale", value=log_y, key=f"log-{name}")
    axis = str(chosen) if chosen in axes else axes[0]
    state = f"zoom-{axis}-{name}"
    zoom: Range | None = st.session_state.get(state)
    if zoom:
        st.button("Whole run", icon=":material/zoom_out:", key=f"whole-{name}", on_click=_forget, args=(state,))
    return Look(axis=AXES[axis], smoothing=percent / 100, log_y=log_y, zoom=zoom, state=state)


def axes_of(*columns: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The axes that every one of these runs can be drawn over."""
    return tuple(name for name, axis in AXES.items() if all(axis.key in found for found in columns))


def zoomable_chart(figure: go.Figure, look: Look, name: str) -> None:
    """Draw a chart; what somebody zooms into becomes the zoom of all charts with the same look."""

    def remember(ends: Range | None) -> None:
        st.session_state[look.state] = ends

    view = f"{look.zoom} {look.log_y}"
    show_chart(figure, key=f"{look.state}-{name}", view=view, on_zoom=remember, sketched=True)


def _forget(state: str) -> None:
    st.session_state[state] = None
