"""One run in full: headline, live curves whose zoom survives a refresh, previews over time, and everything else."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st
import yaml

from core.config.load import dump_settings
from core.errors import LabError
from lab.charts.curves import HELD_OUT, TRAINING, Curve, Range, curve_figure, spans_decades
from lab.components.pictures import show_pictures
from lab.components.run_card import headline, progress
from lab.services import runs
from lab.services.runs import RunView
from lab.state import go_to, select_run
from lab.text import KIND_NAMES, ago, count, escaped, significant, size

CHART_CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "autoScale2d"]}


def run_detail(run_id: str) -> None:
    """The page of one run. Raises RunNotFound for an unknown id."""
    view = runs.view_of(run_id)
    if st.button("All runs", icon=":material/arrow_back:", type="tertiary"):
        select_run("")
        st.rerun()
    st.title(escaped(view.title))
    every = 1.0 if view.is_active else None
    st.fragment(_head, run_every=every)(run_id, view.is_active)
    st.fragment(_curves, run_every=3.0 if view.is_active else None)(run_id)
    st.fragment(_previews, run_every=5.0 if view.is_active else None)(run_id)
    _tabs(view)


def _head(run_id: str, was_active: bool) -> None:
    view = runs.view_of(run_id)
    if view.is_active != was_active:
        st.rerun()
    left, right = st.columns([3, 2], vertical_alignment="center")
    with left:
        headline(view)
    with right:
        _buttons(view)
    progress(view)
    parents = view.run.info.parents
    if parents and st.button(f"Its VAE: {parents[0]}", type="tertiary", icon=":material/account_tree:"):
        go_to("runs", parents[0])


def _buttons(view: RunView) -> None:
    with st.container(horizontal=True, horizontal_alignment="right"):
        if view.is_active:
            stopping = view.state == "stopping"
            if st.button("Stop", icon=":material/stop:", disabled=stopping, help="Saves a checkpoint first"):
                _act(lambda: runs.request_stop(view.id), "Asked it to save and stop")
            if stopping and st.button("Kill", icon=":material/bolt:", help="Ends it at once, without saving"):
                _act(lambda: runs.force_stop(view.id), "Killed")
            return
        if view.state != "finished" and st.button("Resume", icon=":material/play_arrow:", type="primary"):
            _act(lambda: runs.resume(view.id), "Resumed")
        can_draw = view.run.info.kind == "unet" and bool(runs.checkpoints(view.run))
        if can_draw and st.button("Generate", icon=":material/brush:", type="primary"):
            go_to("generate", view.id)
        with st.popover("Delete", icon=":material/delete:"):
            st.markdown(
                f"Delete **{escaped(view.title)}** with its checkpoints, previews and log? It cannot be undone."
            )
            if st.button("Delete it for good", type="primary"):
                _delete(view)


def _delete(view: RunView) -> None:
    try:
        runs.delete(view.id)
    except LabError as error:
        st.error(runs.sentence(error))
    else:
        select_run("")
        st.rerun()


def _act(action, words: str) -> None:  # type: ignore[no-untyped-def]
    try:
        action()
    except LabError as error:
        st.error(runs.sentence(error))
    else:
        st.toast(words)
        st.rerun()


def _curves(run_id: str) -> None:
    """Loss large, learning rate and gradient norm small; a box drawn over any of them zooms all three."""
    view = runs.view_of(run_id)
    columns = runs.curves(view.run)
    if "loss" not in columns:
        if view.is_active:
            st.caption("The curves appear with the first logged steps.")
        return
    state = f"range-{run_id}"
    zoom: Range | None = st.session_state.get(state)
    with st.container(horizontal=True, vertical_alignment="center"):
        log_y = st.toggle("log scale", value=spans_decades(columns["loss"]), key=f"log-{run_id}")
        if zoom and st.button("Whole run", icon=":material/zoom_out:"):
            st.session_state[state] = None
            st.rerun(scope="fragment")
        st.caption("Draw a box over a curve to zoom in; the zoom stays while new steps arrive.")
    steps, total = columns["step"], view.status.steps_total
    losses = [Curve(name="training", color=TRAINING, x=steps, y=columns["loss"], smooth=True)]
    if "val_loss" in columns:
        known = columns["val_loss"] == columns["val_loss"]
        losses.append(
            Curve(name="held out", color=HELD_OUT, x=steps[known], y=columns["val_loss"][known], markers=True)
        )
    figure = curve_figure(
        losses, title="Loss, lower is better", y_title="loss", x_total=total, x_range=zoom, log_y=log_y
    )
    _chart(figure, state, "loss")
    cells = st.columns(2)
    small = (("learning_rate", "Learning rate"), ("grad_norm", "Gradient norm before clipping"))
    for cell, (key, title) in zip(cells, small, strict=True):
        if key in columns:
            curve = Curve(name=title, color=TRAINING, x=steps, y=columns[key], smooth=key == "grad_norm")
            with cell:
                figure = curve_figure([curve], title=title, y_title="", x_total=total, x_range=zoom, height=200)
                _chart(figure, state, key)


def _chart(figure, state: str, name: str) -> None:  # type: ignore[no-untyped-def]
    event = st.plotly_chart(figure, key=f"{state}-{name}", on_select="rerun", selection_mode="box", config=CHART_CONFIG)
    boxes = event["selection"].get("box", []) if event else []
    if boxes and len(boxes[0].get("x", [])) == 2:
        chosen = (float(min(boxes[0]["x"])), float(max(boxes[0]["x"])))
        if chosen[1] > chosen[0] and st.session_state.get(state) != chosen:
            st.session_state[state] = chosen
            st.rerun(scope="fragment")


def _previews(run_id: str) -> None:
    """What it drew or reconstructed, over its training; the same seeds throughout."""
    view = runs.view_of(run_id)
    steps = runs.preview_steps(view.run)
    if not steps:
        return
    st.subheader("Previews over the training")
    step = st.select_slider("step", steps, value=steps[-1], format_func=count) if len(steps) > 1 else steps[0]
    preview = runs.read_preview(view.run, step)
    if preview is None:
        st.caption("This preview cannot be read.")
    elif preview.inputs is None:
        show_pictures(
            preview.images[:40], columns=10, width=660, caption=f"step {count(step)}, the same noise each time"
        )
    else:
        left, right = st.columns(2)
        with left:
            show_pictures(preview.inputs[:20], columns=10, width=420, caption="held-out pictures")
        with right:
            show_pictures(preview.images[:20], columns=10, width=420, caption=f"reconstructed at step {count(step)}")


def _tabs(view: RunView) -> None:
    metrics, config, log, checkpoints, events = st.tabs(["Metrics", "Configuration", "Log", "Checkpoints", "Events"])
    with metrics:
        columns = runs.curves(view.run)
        last = {name: next((v for v in values[::-1] if v == v), None) for name, values in columns.items()}
        st.dataframe(
            pd.DataFrame({"metric": list(last), "newest value": [significant(v) for v in last.values()]}),
            hide_index=True,
        )
    with config:
        st.caption(f"{KIND_NAMES[view.run.info.kind]} run {view.id}, frozen when it was created")
        st.code(dump_settings(view.run.settings), language="yaml")
        st.code(yaml.safe_dump({"revision": view.run.info.revision, "versions": dict(view.run.info.versions)}), "yaml")
    with log:
        st.code(runs.log_tail(view.run) or "nothing printed yet", language=None, height=360)
    with checkpoints:
        found = runs.checkpoints(view.run)
        if not found:
            st.caption("None yet.")
        for item in reversed(found):
            st.markdown(
                f"**step {count(item.step)}** · {size(item.size_bytes)} · `{Path('checkpoints') / item.path.name}`"
            )
    with events:
        for event in reversed(view.run.events()):
            by = f" by {escaped(str(event.get('by')))}" if event.get("by") else ""
            extra = {key: value for key, value in event.items() if key not in ("at", "event", "by")}
            words = escaped(", ".join(f"{key} {value}" for key, value in extra.items()), 300)
            at, name = str(event.get("at", "")), escaped(str(event.get("event", "")))
            st.markdown(
                f"{name}{by} :gray[{escaped(ago(at))} · {escaped(at[:19])}]" + (f"  \n{words}" if words else "")
            )
