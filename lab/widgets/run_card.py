"""A run in one card: state in words, progress, speed, the time that is left. The same on every page."""

from __future__ import annotations

import streamlit as st

from core.words import ago, count, duration
from lab.services.runs import RunView, done_in_words
from lab.words import capitalized, escaped, exactly, state_badge

MOST_OF_REASON = 150  # characters: two lines at the head of a run's page in a window of 900 pixels
_REASON_LOOKS = {
    "failed": ("red", ":material/error: "),
    "interrupted": ("violet", ":material/power_off: "),
}
_UNKNOWN_REASONS = {
    "failed": "The run failed without a recorded reason. Check the end of its log.",
    "interrupted": "Its process is gone.",
}


def headline(view: RunView, *, paused: bool = False) -> None:
    """Badge, kind, owner and age in a line, and below why it ended, in two lines at most; see `whole_reason`."""
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
    reason, (color, icon) = _reason(view), _REASON_LOOKS.get(view.state, ("gray", ""))
    if reason:
        st.markdown(f":{color}[{icon}{escaped(reason, MOST_OF_REASON)}]")


def whole_reason(view: RunView) -> None:
    """Why it ended, where `headline` had room for a part of it only."""
    reason = _reason(view)
    if len(reason) > MOST_OF_REASON:
        st.markdown(f"**Why it ended.** {escaped(reason, 2000)}")


def _reason(view: RunView) -> str:
    return capitalized(view.status.reason) or _UNKNOWN_REASONS.get(view.state, "")


def progress(view: RunView) -> None:
    """Steps, speed and the time that is left, with a bar while there is something left to do."""
    status = view.status
    if view.state != "finished":
        st.progress(view.progress)
    kind = view.run.kind
    words = [done_in_words(view)]
    if view.is_active:
        if status.stage and status.stage != "training":
            words.append(status.stage)
        if status.images_per_s:
            words.append(f"{count(status.images_per_s)} images/s")
        if status.eta_s is not None:
            words.append(f"{duration(status.eta_s)} left")
    elif status.elapsed_s:
        words.append(f"{'trained' if kind.trains else 'took'} {duration(status.elapsed_s)}")
    if status.device:
        words.append(status.device)
    st.caption(escaped(" · ".join(words), 300))
