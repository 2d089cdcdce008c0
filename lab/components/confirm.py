"""Acting on what belongs to somebody else asks first; on one's own it does not."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from lab.components.problems import problems_shown
from lab.state import who
from lab.text import escaped


def confirm_if_not_mine(owner: str, verb: str, action: Callable[[], None]) -> None:
    """Run `action` at once when `owner` is who() ; else open a dialog that names the owner and run it on a yes.

    verb: what the button does, in plain words: 'stop', 'pause', 'move up'. A LabError of the action is told in one
    sentence where it ran; after a yes the page is drawn again, which closes the dialog.
    """
    if owner == who():
        with problems_shown():
            action()
        return
    st.dialog(f"{escaped(_sentence(verb), 60)} a run of {escaped(owner or 'somebody', 40)}?")(_ask)(owner, verb, action)


def _ask(owner: str, verb: str, action: Callable[[], None]) -> None:
    st.markdown(
        f"It belongs to **{escaped(owner or 'somebody unknown', 60)}**; you are **{escaped(who(), 60)}**. "
        "The run's events will say that it was you."
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel", key="confirm-no"):
            st.rerun()
        agreed = st.button(_sentence(verb), type="primary", key="confirm-yes")
    if agreed:
        with problems_shown():
            action()
            st.rerun()


def _sentence(verb: str) -> str:
    return verb[:1].upper() + verb[1:]
