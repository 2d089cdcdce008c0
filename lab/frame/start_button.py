"""One press of a start button makes one training, however often it is clicked; and what a press does right now."""

from __future__ import annotations

import uuid

import streamlit as st

from core.config.schema import Settings
from lab.services.room import turn_of

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
    turn = turn_of(settings, kind)
    return ("Start", "") if turn.at_once else ("Queue", turn.words)
