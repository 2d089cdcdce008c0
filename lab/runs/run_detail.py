"""One run as a dashboard: state in words, four figures, one next action, and below it tabs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from core.words import count, duration
from lab.frame.live_fragment import live_part, page_again
from lab.frame.problems import problems_shown
from lab.frame.state import open_comparison
from lab.frame.tab_title import tab_title
from lab.runs.action_buttons import describe_window, run_actions
from lab.runs.branch_form import branch_window
from lab.runs.evaluation_form import evaluation_window
from lab.runs.run_figures import run_figures
from lab.runs.run_next import run_next
from lab.runs.run_tabs import run_tabs
from lab.runs.run_window import window_of
from lab.runs.stop_progress import is_leaving, stop_progress
from lab.services import evaluations, runs
from lab.services import run_actions as acting
from lab.services.runs import RunView
from lab.widgets.run_card import headline
from lab.words import escaped, plain

HEAD_TICK_S, CALM_TICK_S = 1.5, 2.5  # while its state is about to change, and while it trains


def run_detail(run_id: str) -> None:
    """The page of one run. Raises RunNotFound for an unknown id."""
    view = runs.view_of(run_id)
    if not view.run.kind.listed:
        open_comparison(view.run)
    st.html(Path(__file__).with_name("run_page.css"))
    known = _signature(view)
    ticks = view.is_active or known.leaving or known.evaluation
    with st.container(key="run-page"):
        left, right = st.columns([3, 2], vertical_alignment="center")
        with left:
            st.title(escaped(view.title))
        with right:
            run_actions(view, paused=known.paused, leaving=known.leaving)
        head, then = st.columns([4, 1], gap="medium")
        with head:
            pace = CALM_TICK_S if view.state == "running" else HEAD_TICK_S
            live_part(every_s=pace if ticks else None)(_head)(view.id, known)
        with then:
            run_next(view, paused=known.paused, leaving=known.leaving)
        run_tabs(view)
    _window(view)


def _window(view: RunView) -> None:
    window = window_of(view.id)
    if window is None:
        return
    if window.kind == "describe":
        describe_window(view.id, window.seen)
    elif window.kind == "evaluate":
        evaluation_window(view.id)
    else:
        branch_window(view.id, window.step)


@dataclass(frozen=True, kw_only=True)
class _Signature:
    """What the buttons depend on. leaving: it ended lately, and not all of its stop was seen yet. evaluation: state of
    the evaluation that waits or works on it, '' without one."""

    state: str
    paused: bool
    leaving: bool
    evaluation: str


def _signature(view: RunView) -> _Signature:
    evaluation = evaluations.active_of(view.id) if view.run.kind.generates else None
    return _Signature(
        state=view.state,
        paused=acting.is_paused(view),
        leaving=not view.is_active and is_leaving(view),
        evaluation=evaluation.state if evaluation else "",
    )


def _head(run_id: str, known: _Signature) -> None:
    """State in words and figures; draws the whole page again when the state is another one: buttons follow it."""
    with problems_shown(), st.container(gap="xsmall"):
        view = runs.view_of(run_id)
        share = f" · {100 * view.progress:.0f} %" if view.is_active and view.state != "queued" else ""
        tab_title(f"Run {plain(view.title, 60)}{share}")
        now = _signature(view)
        if now != known:
            page_again()
        headline(view, paused=now.paused)
        if now.paused:
            st.caption("It keeps its place in the queue until someone resumes it.")
        elif view.state == "queued":
            _turn(view)
        run_figures(view)
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
