"""What can be done with one run: pause, stop, kill, mark, describe, delete with undo."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from core.jobs.service import MAX_PERSON
from core.runs.notes import MAX_NOTES_LENGTH, MAX_TAG_LENGTH, MAX_TAGS, Notes
from core.runs.store import MAX_NAME_LENGTH
from lab.frame.confirm import confirm_for_good, confirm_if_not_mine, may_act_on
from lab.frame.live_fragment import window
from lab.frame.problems import problems_shown
from lab.frame.state import select_run, who
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
    """What can be done with a run in this state. leaving: its process is not seen to be gone.

    Pause and Stop keep their places and are grayed while they can do nothing; nothing else ever stands there. Drawn
    outside of live parts, so that a window stays; in an empty slot, so that no button of the last state lingers.
    """
    with st.empty().container(horizontal=True, horizontal_alignment="right", gap="small"):
        mine = may_act_on(view.run.info.owner)
        if mine and (view.is_active or paused or leaving):
            _pause(view, disabled=paused or leaving or view.state == "stopping")
            _stop(view, waits=paused or view.state == "queued", disabled=leaving or view.state == "stopping")
        _favourite(view)
        if mine:
            with st.popover("", icon=":material/more_vert:", help="Describe, kill or delete"):
                _menu(view)


def _menu(view: RunView) -> None:
    if st.button("Name, tags and notes", icon=":material/edit:", type="tertiary", key="describe"):
        open_window("describe", view.id, seen=notes_of(view.run))
    if view.is_active and st.button(
        "Kill",
        icon=":material/bolt:",
        type="tertiary",
        disabled=view.state != "stopping",
        help="Ends it at once, without a checkpoint" if view.state == "stopping" else "Stop it first",
    ):
        confirm_for_good(
            view.run.info.owner,
            "kill",
            lambda: act(lambda: acting.kill(view.id, who()), "Killed", slow=True),
            what="a run",
            name=view.title,
            loses="Everything since its last checkpoint is lost.",
        )
    if not view.is_active:
        st.caption("You can bring a deleted run back from the trash for some days.")
    if st.button(
        "Delete",
        icon=":material/delete:",
        type="tertiary",
        disabled=view.is_active,
        help="Stop it first" if view.is_active else None,
    ):
        confirm_if_not_mine(view.run.info.owner, "delete", lambda: _delete(view))


def _pause(view: RunView, *, disabled: bool) -> None:
    waits = view.state == "queued"
    if st.button(
        "Hold" if waits else "Pause",
        icon=":material/pause:",
        disabled=disabled,
        help="Lets others go first; it keeps its place" if waits else "Saves, frees the machine and keeps its place",
    ):
        words = "Held back" if waits else "Asked it to save and pause"
        confirm_if_not_mine(view.run.info.owner, "pause", lambda: act(lambda: acting.pause(view.id, who()), words))


def _stop(view: RunView, *, waits: bool, disabled: bool) -> None:
    if st.button(
        "Stop",
        icon=":material/stop:",
        disabled=disabled,
        help="Takes it out of the queue" if waits else "Saves a checkpoint first",
    ):
        words = "Taken out of the queue" if waits else "Asked it to save and stop"
        confirm_if_not_mine(view.run.info.owner, "stop", lambda: act(lambda: acting.stop(view.id, who()), words))


def _favourite(view: RunView) -> None:
    mine = who() in notes_of(view.run).favourite_of
    if st.button(
        "★" if mine else "☆",
        help="Remove from your favorites" if mine else "Add to your favorites",
        key="favourite",
    ):
        with problems_shown():
            acting.mark_favourite(view.id, who(), not mine)
            st.rerun()


def act(action: Callable[[], None], words: str, *, slow: bool = False) -> None:
    """Do it, say `words` and draw the page again. slow: it takes seconds. Raises what the action raises."""
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
        st.caption(
            f"This run belongs to {escaped(owner, 60)}. Your name, {escaped(who(), 60)}, is recorded in its events."
        )
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
    person = st.text_input(
        "Owner",
        owner,
        max_chars=MAX_PERSON,
        disabled=view.is_active,
        help="Stop it first." if view.is_active else "Another name hands the run over: that person may then change it.",
        key=f"owner-{run_id}",
    )
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel", key="describe-no"):
            close_window()
            st.rerun()
        agreed = st.button("Save", type="primary", key="describe-yes")
    if agreed:
        with problems_shown():
            acting.describe(run_id, who(), name=name or "", tags=list(tags), notes=notes or "", seen=seen)
            if not view.is_active and (person or "").strip() != owner:
                acting.hand_over(run_id, who(), person or "")
            close_window()
            st.rerun()
