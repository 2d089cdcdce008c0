"""A run in one card: state in words, progress, speed, the time that is left. The same on every page."""

from __future__ import annotations

import streamlit as st

from core.words import ago, count, duration
from lab.services.runs import RunView
from lab.words import escaped, exactly, state_badge


def headline(view: RunView, *, paused: bool = False) -> None:
    """Badge, kind, owner and age in a line, and below why it ended: in a box of its own when it ended badly."""
    info = view.run.info
    parts = [
        state_badge("paused" if paused else view.shown_state),
        view.kind,
        escaped(info.owner),
        ago(info.created_at),
    ]
    st.markdown(" · ".join(part for part in parts if part), help=f"Created {escaped(exactly(info.created_at))}")
    if problem := view.run.flaw(view.status):
        st.warning(escaped(problem[:1].upper() + problem[1:], 300), icon=":material/update:")
    reason = view.status.reason
    words = escaped(reason[:1].upper() + reason[1:], 600)
    if view.state == "failed":
        st.error(
            words or "The run failed without a recorded reason. Check the end of its log.", icon=":material/error:"
        )
    elif view.state == "interrupted":
        st.warning(words or "Its process is gone.", icon=":material/power_off:")
    elif reason:
        st.markdown(f":gray[{words}]")


def progress(view: RunView) -> None:
    """Steps, speed and the time that is left, with a bar while there is something left to do."""
    status = view.status
    if view.state != "finished":
        st.progress(view.progress)
    kind = view.run.kind
    words = [f"{kind.unit} {count(status.step)} of {count(status.steps_total)}"]
    if view.is_active:
        if status.stage and status.stage != "training":
            words.append(status.stage)
        if status.images_per_s:
            words.append(f"{count(status.images_per_s)} images/s")
        if status.eta_s is not None:
            words.append(f"{duration(status.eta_s)} left")
    elif status.elapsed_s:
        words.append(f"{'trained' if kind.trains else 'drew'} {duration(status.elapsed_s)}")
    if status.device:
        words.append(status.device)
    st.caption(escaped(" · ".join(words), 300))
