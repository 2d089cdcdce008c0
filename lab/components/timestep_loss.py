"""Loss by timestep: where on the schedule a network works hard, alone or against another run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.errors import LabError
from core.runs.listing import list_checkpoints
from lab.charts.schedule import Line, schedule_figure
from lab.charts.timestep_loss import LossCurve, loss_figure
from lab.services.runs import RunView, trained_unets
from lab.services.timestep_loss import loss_of
from lab.state import page_file
from lab.text import count, escaped, plain

ERRORS = {"original": "clean latents", "epsilon": "noise", "target": "what it predicts"}
AXES = {"t": "timestep t", "log_snr": "log-SNR"}


def timestep_loss() -> None:
    """One run or two; the error, the axis, and the schedule beneath."""
    st.markdown(
        "How large is the network's error at each noise level? Held-out pictures, the same noise at every t, and the "
        "same pictures and noise for every run of a data set."
    )
    views = trained_unets()
    if not views:
        st.caption("No trained U-Net yet.")
        st.page_link(page_file("train"), label="Train a model", icon=":material/model_training:")
        return
    left, right = st.columns(2)
    with left:
        first = _choose(views, "Run", "run")
    with right:
        second = _choose(views, "Against", "against", optional=True)
    cells = st.columns([3, 2, 1.2], vertical_alignment="bottom")
    kind = cells[0].segmented_control(
        "Error of", list(ERRORS), default="original", required=True, format_func=ERRORS.__getitem__, key="loss-of",
        bind="query-params", help="Errors of the clean latents and of the noise compare between ways of training; "
        "that of what it predicts is the loss itself, without weights.",
    )  # fmt: skip
    axis = cells[1].segmented_control(
        "Over",
        list(AXES),
        default="t",
        required=True,
        format_func=AXES.__getitem__,
        key="loss-over",
        bind="query-params",
    )
    log_y = cells[2].toggle("Log scale", key="loss-log", bind="query-params")
    curves, schedules = [], []
    for view, step in (first, second):
        if view is None:
            continue
        bar = st.empty()
        try:
            found = loss_of(view.id, step, _shower(bar))
        except LabError as error:
            st.warning(escaped(str(error), 300))
            continue
        finally:
            bar.empty()
        x = np.array(getattr(found, str(axis)), dtype=float)
        name = f"{view.title}, step {count(step)}"
        curves.append(
            LossCurve(
                name=plain(name, 60),
                x=x,
                mean=np.array(getattr(found, str(kind))),
                error=np.array(getattr(found, f"{kind}_error")),
                guess=np.array(found.linear) if kind == "original" else None,
            )
        )
        schedules.append(Line(name=plain(f"{found.schedule}, {view.title}", 60), x=x, y=np.array(found.alpha_bar)))
    if not curves:
        return
    theme = st.context.theme.type
    title = f"Held-out error of {ERRORS[str(kind)]}, lower is better"
    st.plotly_chart(loss_figure(curves, title=title, x_title=AXES[str(axis)], log_y=log_y, theme=theme), key="loss")
    st.caption(
        "The band is two standard errors. The best linear guess knows only how much each channel varies: the gap to it "
        "is what the network has learned about pictures, and where the lines meet it has learned nothing. A run whose "
        "line lies above another's at high noise draws the wrong shapes, at low noise the wrong details."
    )
    st.plotly_chart(
        schedule_figure(schedules, title="Share of signal left there", x_title=AXES[str(axis)], y_title="ᾱ",
                        theme=theme, height=200),
        key="loss-schedule",
    )  # fmt: skip


def _shower(bar: DeltaGenerator) -> Callable[[str, float], None]:
    def show(text: str, share: float) -> None:
        bar.progress(min(1.0, share), text=text)

    return show


def _choose(views: list[RunView], label: str, key: str, *, optional: bool = False) -> tuple[RunView | None, int]:
    """A run and the step of one of its checkpoints."""
    by_id = {view.id: view for view in views}
    names = {view.id: plain(view.title) for view in views}
    options = ["", *names] if optional else list(names)
    left, right = st.columns([3, 2])
    chosen = left.selectbox(
        label, options, format_func=lambda name: names.get(name, "nothing"), key=key, bind="query-params"
    )
    if not chosen:
        return None, 0
    steps = [info.step for info in list_checkpoints(by_id[chosen].run)][::-1]
    step = right.selectbox("Step", steps, format_func=count, key=f"{key}-step-{chosen}")
    return by_id[chosen], int(step)
