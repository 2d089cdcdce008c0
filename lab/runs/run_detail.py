"""One run in full: what it does or why it ended, what can be done, live curves, previews, family, records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.errors import LabError
from core.runs.kinds import kind_named
from core.words import count, duration
from lab.frame.live_fragment import live_part, page_again
from lab.frame.notices import notify_button
from lab.frame.problems import problems_shown
from lab.frame.state import go_to, open_comparison, open_film, select_run
from lab.runs.action_buttons import describe_window, run_actions
from lab.runs.branch_form import branch_window
from lab.runs.run_curves import run_curves
from lab.runs.run_records import log_window, run_records
from lab.runs.run_window import open_window, window_of
from lab.runs.stop_progress import is_leaving, stop_progress
from lab.services import run_actions as acting
from lab.services import runs
from lab.services.notes import notes_of
from lab.services.runs import RunView
from lab.widgets.pictures import show_pictures
from lab.widgets.run_card import headline, progress
from lab.words import escaped

MOST_PREVIEWS = 7
MOST_RELATIVES = 4
HEAD_TICK_S, CURVES_TICK_S, PREVIEWS_TICK_S = 1.5, 3.0, 5.0


def run_detail(run_id: str) -> None:
    """The page of one run. Raises RunNotFound for an unknown id."""
    view = runs.view_of(run_id)
    if not view.run.kind.listed:
        open_comparison(view.run)
    if st.button("All runs", icon=":material/arrow_back:", type="tertiary"):
        select_run("")
        st.rerun()
    known = _signature(view)
    left, right = st.columns([3, 2], vertical_alignment="center")
    with left:
        st.title(escaped(view.title))
    with right:
        run_actions(view, paused=known.paused, leaving=known.leaving)
    live = view.is_active
    live_part(every_s=HEAD_TICK_S if live or known.leaving else None)(_head)(view.id, known)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if live:
            notify_button()
        _tags_and_relatives(view)
    notes = notes_of(view.run).notes
    if notes:
        with st.container(width=760):
            st.text(notes)
    live_part(every_s=CURVES_TICK_S if live else None)(run_curves)(view.id)
    live_part(every_s=PREVIEWS_TICK_S if live else None)(_previews)(view.id)
    run_records(view)
    _window(view)


def _window(view: RunView) -> None:
    window = window_of(view.id)
    if window is None:
        return
    if window.kind == "describe":
        describe_window(view.id, window.seen)
    elif window.kind == "branch":
        branch_window(view.id, window.step)
    else:
        log_window(view)


@dataclass(frozen=True, kw_only=True)
class _Signature:
    """What the buttons depend on. leaving: it ended lately, and not all of its stop was seen yet."""

    state: str
    paused: bool
    leaving: bool


def _signature(view: RunView) -> _Signature:
    return _Signature(state=view.state, paused=acting.is_paused(view), leaving=not view.is_active and is_leaving(view))


def _head(run_id: str, known: _Signature) -> None:
    """State, reason, progress; draws the whole page again when the state is another one, as the buttons follow it."""
    with problems_shown():
        view = runs.view_of(run_id)
        now = _signature(view)
        if now != known:
            page_again()
        headline(view, paused=now.paused)
        ended_badly = view.state in ("failed", "interrupted")
        if ended_badly and st.button("Read the log", icon=":material/article:", key="read-log"):
            open_window("log", view.id)
        if now.paused:
            st.caption("It keeps its place in the queue until somebody resumes it.")
        elif view.state == "queued":
            _turn(view)
        if view.state != "queued" or view.status.step:
            progress(view)
        if view.state == "stopping" or not view.is_active:
            stop_progress(view)


def _turn(view: RunView) -> None:
    """Where it stands in the queue, and what for."""
    entry = acting.queue_entry(view.id)
    if entry is None:
        st.caption("Not in the queue yet.")
        return
    words = ["next in the queue" if entry.place == 1 else f"place {count(entry.place)} in the queue"]
    if entry.waits_for:
        words.append(f"waits for {entry.waits_for}")
    if entry.expected_start_s is not None and entry.expected_start_s > 0:
        words.append(f"starts in about {duration(entry.expected_start_s)}")
    text = " · ".join(words)
    st.caption(escaped(text[:1].upper() + text[1:], 300))


def _tags_and_relatives(view: RunView) -> None:
    """Its tags, and links to its VAE, its U-Nets, the run it branched from, and its branches."""
    tags = notes_of(view.run).tags
    if tags:
        st.markdown(" ".join(f":gray-badge[{escaped(tag, 40)}]" for tag in tags), width="content")
    info = view.run.info
    links = [(parent, f"Its {kind_named(view.run.kind.parent).title}") for parent in info.parents]
    if info.branched_from:
        links.append((info.branched_from, f"Branched at step {count(info.branched_step)} from"))
    family = [other for other in runs.list_views() if other.id != view.id]
    made_of_it = [other for other in family if view.id in other.run.info.parents]
    branches = [other for other in family if other.run.info.branched_from == view.id]
    links += [(other.id, f"Its {other.kind}") for other in made_of_it[:MOST_RELATIVES]]
    links += [
        (other.id, f"Branch at step {count(other.run.info.branched_step)}") for other in branches[:MOST_RELATIVES]
    ]
    for other_id, word in links:
        try:
            title = runs.view_of(other_id).title
        except LabError:
            st.caption(f"{word}: {escaped(other_id)} (deleted)", width="content")
            continue
        icon = ":material/call_split:" if word.startswith("Branch") else ":material/link:"
        if st.button(f"{word}: {escaped(title, 40)}", type="tertiary", icon=icon, key=f"to-{other_id}"):
            go_to("runs", other_id)
    more = max(0, len(made_of_it) - MOST_RELATIVES) + max(0, len(branches) - MOST_RELATIVES)
    if more:
        st.caption(f"and {count(more)} more", width="content")


def _previews(run_id: str) -> None:
    """What it drew or reconstructed, a row a step from top to bottom; the same seeds throughout."""
    with problems_shown():
        view = runs.view_of(run_id)
        steps = runs.preview_steps(view.run)
        if not steps:
            return
        st.subheader("How its pictures came about")
        last = runs.read_preview(view.run, steps[-1])
        if last is not None and last.inputs is not None:
            _strip("held-out pictures", last.inputs)
        shown = [steps[place] for place in np.unique(np.linspace(0, len(steps) - 1, MOST_PREVIEWS).round().astype(int))]
        for step in shown:
            preview = runs.read_preview(view.run, step)
            _strip(f"step {count(step)}", preview.images if preview else None)
        if view.run.kind.generates:
            st.caption("The same classes from the same noise at every step of the training.")
        if len(steps) > 1 and st.button("Watch the film", icon=":material/movie:", key="film"):
            open_film(view.id)


def _strip(words: str, images: np.ndarray | None) -> None:
    label, row = st.columns([1, 6], vertical_alignment="center", gap="small")
    label.caption(words)
    with row:
        if images is None:
            st.caption("This preview cannot be read.")
        else:
            show_pictures(images[:10], columns=min(10, len(images)), width=660)
