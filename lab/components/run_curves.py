"""The curves of one run: loss large, learning rate and gradient norm small; the zoom survives every refresh."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from lab.charts.curves import Curve, Mark, Range, curve_figure, missing_values, spans_decades
from lab.charts.palette import palette
from lab.components.problems import problems_shown
from lab.services import runs
from lab.services.runs import RunView

CHART_CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "autoScale2d"]}


def run_curves(run_id: str) -> None:
    """Loss large, learning rate and gradient norm small; a box drawn over any of them zooms all three."""
    with problems_shown():
        view = runs.view_of(run_id)
        columns = runs.curves(view.run)
        if "loss" not in columns:
            if view.is_active:
                st.caption("The curves appear with the first logged steps.")
            return
        state = f"range-{run_id}"
        zoom: Range | None = st.session_state.get(state)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption("Draw a box over a curve to zoom in; the zoom stays while new steps arrive.")
            log_y = st.toggle("log scale", value=spans_decades(columns["loss"]), key=f"log-{run_id}")
            if zoom and st.button("Whole run", icon=":material/zoom_out:", key=f"whole-{run_id}"):
                st.session_state[state] = None
                st.rerun(scope="fragment")
        _chart(_loss_figure(view, columns, zoom, log_y=log_y), state, "loss")
        cells = st.columns(2)
        small = (("learning_rate", "Learning rate"), ("grad_norm", "Gradient norm before clipping"))
        for cell, (key, title) in zip(cells, small, strict=True):
            if key in columns:
                curve = Curve(
                    name=title,
                    ink=palette(st.context.theme.type).training,
                    x=columns["step"],
                    y=columns[key],
                    smooth=key == "grad_norm",
                )
                with cell:
                    total = view.status.steps_total
                    figure = curve_figure([curve], title=title, y_title="", x_total=total, x_range=zoom, height=200)
                    _chart(figure, state, key)


def _loss_figure(view: RunView, columns: dict[str, np.ndarray], zoom: Range | None, *, log_y: bool) -> go.Figure:
    colors = palette(st.context.theme.type)
    steps, loss = columns["step"], columns["loss"]
    losses = [Curve(name="training", ink=colors.training, x=steps, y=loss, smooth=True)]
    if "val_loss" in columns:
        known = np.isfinite(columns["val_loss"])
        losses.append(
            Curve(
                name="held out", ink=colors.held_out, x=steps[known], y=columns["val_loss"][known], markers=True
            )
        )  # fmt: skip
    resumed = [Mark(x=step, ink=colors.event, text="resumed") for step in runs.resumed_at(view.run)]
    return curve_figure(
        losses,
        title="Loss, lower is better",
        y_title="loss",
        x_total=view.status.steps_total,
        x_range=zoom,
        log_y=log_y,
        marks=[*resumed, *missing_values(steps, loss, colors.trouble)],
    )


def _chart(figure: go.Figure, state: str, name: str) -> None:
    event = st.plotly_chart(figure, key=f"{state}-{name}", on_select="rerun", selection_mode="box", config=CHART_CONFIG)
    boxes = event["selection"].get("box", []) if event else []
    if boxes and len(boxes[0].get("x", [])) == 2:
        chosen = (float(min(boxes[0]["x"])), float(max(boxes[0]["x"])))
        if chosen[1] > chosen[0] and st.session_state.get(state) != chosen:
            st.session_state[state] = chosen
            st.rerun(scope="fragment")
