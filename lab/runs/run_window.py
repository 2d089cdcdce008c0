"""What is open on a run's page: its tab, and the window over it, which stays while live parts are drawn again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import streamlit as st

from core.runs.notes import Notes

WindowKind = Literal["describe", "branch", "evaluate"]
TAB = "tab"
_OPEN, _ASKED, _NOTHING = "run-window", "run-tab-asked", Notes()


@dataclass(frozen=True, kw_only=True)
class Window:
    """kind: what it shows. step: of the checkpoint to branch from. seen: the notes when it was opened."""

    kind: WindowKind
    run_id: str
    step: int = 0
    seen: Notes = _NOTHING


def open_window(kind: WindowKind, run_id: str, *, step: int = 0, seen: Notes | None = None) -> None:
    """Remember what to show and draw the page again: the run's page opens it."""
    st.session_state[_OPEN] = Window(kind=kind, run_id=run_id, step=step, seen=seen or _NOTHING)
    st.rerun()


def close_window() -> None:
    """Nothing is open any more."""
    st.session_state.pop(_OPEN, None)


def window_of(run_id: str) -> Window | None:
    """What is open over this run's page; what was left open over another's is closed."""
    window: Window | None = st.session_state.get(_OPEN)
    if window is not None and window.run_id != run_id:
        close_window()
        return None
    return window


def open_tab(name: str) -> None:
    """Show that tab of the run's page when the whole page is drawn next, from a callback or a window alike."""
    st.session_state[_ASKED] = name


def take_asked_tab() -> None:
    """Before the tabs are drawn: choose the one that was asked for. Set any earlier, the browser's own would win."""
    asked = st.session_state.pop(_ASKED, "")
    if asked:
        st.session_state[TAB] = asked
