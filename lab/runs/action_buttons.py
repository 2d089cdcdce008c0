"""What can be done with one run: stop, kill, pause, resume, draw, mark, describe, delete with undo."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import streamlit as st

from core.runs.notes import MAX_NOTES_LENGTH, MAX_TAG_LENGTH, MAX_TAGS, Notes
from core.runs.store import MAX_NAME_LENGTH
from lab.frame.confirm import confirm_if_not_mine, may_act_on
from lab.frame.live_fragment import window
from lab.frame.problems import problems_shown
from lab.frame.state import go_to, select_run, who
from lab.runs.run_window import close_window, open_window
from lab.services import run_actions as acting
from lab.services import runs
from lab.services.notes import notes_of
from lab.services.runs import RunView
from lab.words import escaped

DELETED = "runs-deleted"


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """A run that this session put into the trash. at: seconds since 1970."""

    run_id: str
    title: str
    owner: str
    at: float


def run_actions(view: RunView, *, paused: bool, leaving: bool) -> None:
    """The buttons that make sense in this state, the likely one first. leaving: its process is not seen to be gone.

    Drawn outside of live parts, so that a window stays; in an empty slot, so that no button of the last state lingers.
    """
    with st.empty().container(horizontal=True, horizontal_alignment="right", gap="small"):
        _favourite(view)
        if not may_act_on(view.run.info.owner):
            _generate(view)
            return
        if paused:
            _while_paused(view)
        elif view.is_active:
            _while_active(view)
        else:
            _when_over(view, leaving=leaving)
        with st.popover("", icon=":material/more_vert:", help="Describe or delete"):
            if st.button("Name, tags and notes", icon=":material/edit:", type="tertiary", key="describe"):
                open_window("describe", view.id, seen=notes_of(view.run))
            if not view.is_active:
                st.caption("Deleted runs can be brought back from the trash for some days.")
            if st.button(
                "Delete",
                icon=":material/delete:",
                type="tertiary",
                disabled=view.is_active,
                help="Stop it first" if view.is_active else None,
            ):
                confirm_if_not_mine(view.run.info.owner, "delete", lambda: _delete(view))


def _while_active(view: RunView) -> None:
    owner = view.run.info.owner
    waits = view.state == "queued"
    if view.state == "stopping":
        st.button("Stop", icon=":material/stop:", disabled=True)
        if st.button("Kill", icon=":material/bolt:", help="Ends it at once; what is not saved yet is lost"):
            confirm_if_not_mine(owner, "kill", lambda: _act(lambda: acting.kill(view.id, who()), "Killed", slow=True))
        return
    if st.button(
        "Hold" if waits else "Pause",
        icon=":material/pause:",
        help="Others may go first; it keeps its place" if waits else "Saves, frees the machine, and keeps its place",
    ):
        words = "Held back" if waits else "Asked it to save and pause"
        confirm_if_not_mine(owner, "pause", lambda: _act(lambda: acting.pause(view.id, who()), words))
    _stop(view, waits=waits)


def _while_paused(view: RunView) -> None:
    owner = view.run.info.owner
    if st.button("Resume", icon=":material/play_arrow:", type="primary", help="It goes on when it is its turn"):
        confirm_if_not_mine(owner, "resume", lambda: _act(lambda: acting.resume(view.id, who()), "Queued again"))
    _stop(view, waits=True)


def _stop(view: RunView, *, waits: bool) -> None:
    if st.button("Stop", icon=":material/stop:", help="Leaves the queue" if waits else "Saves a checkpoint first"):
        words = "Taken out of the queue" if waits else "Asked it to save and stop"
        confirm_if_not_mine(view.run.info.owner, "stop", lambda: _act(lambda: acting.stop(view.id, who()), words))


def _when_over(view: RunView, *, leaving: bool) -> None:
    if view.state != "finished" and st.button(
        "Resume",
        icon=":material/play_arrow:",
        type="primary",
        disabled=leaving,
        help="Its process is still ending" if leaving else None,
    ):
        words = "Queued: it goes on from its last checkpoint"
        confirm_if_not_mine(view.run.info.owner, "resume", lambda: _act(lambda: acting.resume(view.id, who()), words))
    _generate(view)


def _generate(view: RunView) -> None:
    can_draw = not view.is_active and view.run.kind.generates and bool(runs.checkpoints(view.run))
    kind: Literal["primary", "secondary"] = "primary" if view.state == "finished" else "secondary"
    if can_draw and st.button("Generate", icon=":material/brush:", type=kind):
        go_to("generate", view.id)


def _favourite(view: RunView) -> None:
    mine = who() in notes_of(view.run).favourite_of
    if st.button(
        "★" if mine else "☆",
        help="One of your favourites" if mine else "Make it one of your favourites",
        key="favourite",
    ):
        with problems_shown():
            acting.mark_favourite(view.id, who(), not mine)
            st.rerun()


def _act(action: Callable[[], None], words: str, *, slow: bool = False) -> None:
    if slow:
        with st.spinner("Waiting until its processes are gone", show_time=True):
            action()
    else:
        action()
    st.toast(words)
    st.rerun()


def _delete(view: RunView) -> None:
    with st.spinner("Waiting until its process is gone", show_time=True):
        acting.delete(view.id, who())
    entry = Deleted(run_id=view.id, title=view.title, owner=view.run.info.owner, at=time.time())
    st.session_state[DELETED] = [*st.session_state.get(DELETED, []), entry][-5:]
    select_run("")
    st.rerun()


def undo_line(entry: Deleted) -> None:
    """'Deleted x' with a button that brings it back."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f":material/delete: Deleted **{escaped(entry.title)}**.", width="content")
        undo = st.button("Undo", icon=":material/undo:", key=f"undo-{entry.run_id}")
        forget = st.button("", icon=":material/close:", type="tertiary", key=f"forget-{entry.run_id}", help="Hide")
    with problems_shown():
        if undo:
            acting.restore(entry.run_id, who())
        if undo or forget:
            st.session_state[DELETED] = [other for other in st.session_state[DELETED] if other != entry]
            if undo:
                select_run(entry.run_id)
            st.rerun()


def describe_window(run_id: str, seen: Notes) -> None:
    """The form for name, tags and notes. seen: what there was when it was opened."""
    window("Name, tags and notes", _describe, width="medium", on_dismiss=close_window)(run_id, seen)


def _describe(run_id: str, seen: Notes) -> None:
    view = runs.view_of(run_id)
    owner = view.run.info.owner
    if owner != who():
        st.caption(f"This run belongs to {escaped(owner, 60)}. Its events will say that {escaped(who(), 60)} did it.")
    known = sorted({tag for each in runs.list_views() for tag in notes_of(each.run).tags} | set(seen.tags))
    name = st.text_input("Name", view.run.info.name, max_chars=MAX_NAME_LENGTH, key=f"name-{run_id}")
    tags = st.multiselect(
        "Tags",
        known,
        default=list(seen.tags),
        accept_new_options=True,
        max_selections=MAX_TAGS,
        placeholder="choose, or type a new one",
        help=f"Up to {MAX_TAGS}, of at most {MAX_TAG_LENGTH} characters. The list of runs can be filtered by them.",
        key=f"tags-{run_id}",
    )
    notes = st.text_area("Notes", seen.notes, height=180, max_chars=MAX_NOTES_LENGTH, key=f"notes-{run_id}")
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel", key="describe-no"):
            close_window()
            st.rerun()
        agreed = st.button("Save", type="primary", key="describe-yes")
    if agreed:
        with problems_shown():
            acting.describe(run_id, who(), name=name or "", tags=list(tags), notes=notes or "", seen=seen)
            close_window()
            st.rerun()
