"""Background work on the screen: a bar, and a way out. Leaving the page leaves the work alone."""

from __future__ import annotations

from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lab.services import background
from lab.services.background import Work
from lab.words import escaped, sentence

LOOK_S = 0.2


def wait_with_progress(work: Work, words: str, *, can_stop: bool = True) -> None:
    """Draw its progress until it is done, and then take it away. can_stop: False for what ends only by itself."""
    if work.wait(LOOK_S):
        return
    place = st.empty()
    with place.container():
        line = _line(work, can_stop)
    while not work.wait(LOOK_S):
        _fill(line, work, words)
    place.empty()


def bar(work: Work, words: str, *, can_stop: bool = True) -> None:
    """Its progress now, without waiting: for a fragment that is drawn again, so that dialogs and live parts go on."""
    _fill(_line(work, can_stop), work, words)


def _line(work: Work, can_stop: bool) -> DeltaGenerator:
    """The place of a bar, and the button beside it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        place = st.empty()
        if can_stop:
            st.button("Cancel", key=f"cancel-{work.key}", on_click=work.cancel)
    return place


def _fill(place: DeltaGenerator, work: Work, words: str) -> None:
    place.progress(work.fraction, text=f"{words}: {escaped(work.stage)}")


def outcome(work: Work, words: str, *, can_stop: bool = True) -> Any:
    """Its result, after its progress. Raises the LabError it ended with, which is told once."""
    wait_with_progress(work, words, can_stop=can_stop)
    background.forget(work)
    if work.problem is not None:
        raise work.problem
    return work.result


def result_once(key: str, words: str, *, can_stop: bool = True) -> Any:
    """The result of the newest work of that key, once, after its progress; a problem is shown instead, and gives None
    as no work does."""
    work = background.find(key)
    if work is None:
        return None
    wait_with_progress(work, words, can_stop=can_stop)
    if not work.is_done:
        return None
    background.forget(work)
    if work.problem is not None:
        st.error(sentence(work.problem), icon=":material/error:")
        return None
    return work.result
