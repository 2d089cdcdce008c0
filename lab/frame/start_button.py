"""One press of a start button makes one training, however often it is clicked; and what a press does right now."""

from __future__ import annotations

import uuid

import streamlit as st

from core.config.schema import Settings
from core.words import count, duration
from lab.services import run_actions

_TOKEN, _USED = "start-token", "start-token-used"


def press_token(pressed: bool) -> str:
    """The token of this form. Clicks in a row share one; a form that is drawn anew afterwards has another.

    Call it once a run of the page. The token must outlive a successful start: the second click of a double click
    arrives only then.
    """
    if _TOKEN not in st.session_state or (st.session_state.get(_USED) and not pressed):
        st.session_state[_TOKEN], st.session_state[_USED] = uuid.uuid4().hex, False
    if pressed:
        st.session_state[_USED] = True
    return str(st.session_state[_TOKEN])


def start_label(settings: Settings, kind: str) -> tuple[str, str]:
    """('Start', '') when the machine has a place and memory for such a run, else ('Queue', which turn, and when)."""
    place = run_actions.next_place(settings, kind)
    waiting = place.waiting
    if place.at_once:
        return "Start", ""
    if place.lacks:
        return "Queue", f"It waits until there is room. {place.lacks[0].upper()}{place.lacks[1:]}."
    words = "No place on the machine is free: " + _before_it(waiting)
    start_s = expected_start_s(
        [entry.expected_end_s for entry in run_actions.queue() if entry.state != "paused"], waiting
    )
    return "Queue", words + (f", so it starts in about {duration(start_s)}." if start_s is not None else ".")


def _before_it(waiting: int) -> str:
    if not waiting:
        return "it is next"
    return "1 run waits before it" if waiting == 1 else f"{count(waiting)} runs wait before it"


def expected_start_s(ends_s: list[float | None], waiting: int) -> float | None:
    """Seconds until a run that is queued now starts, when every place is taken; None when it cannot be known.

    ends_s: expected ends of all that live or wait. It starts once as many have ended as wait before it, and one more.
    """
    known = sorted(end for end in ends_s if end is not None)
    return known[waiting] if len(known) == len(ends_s) and waiting < len(known) else None
