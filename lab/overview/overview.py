"""Overview: what is going on, and what to do next."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from core.values import instant
from core.words import ago, count, duration
from lab.frame.live_fragment import live_part, page_again
from lab.frame.notices import notify_button, since_here
from lab.frame.problems import problems_shown
from lab.frame.state import go_to, page_file
from lab.overview.empty_lab import STARTED, empty_lab
from lab.overview.live_card import live_card
from lab.services import evaluations, run_actions
from lab.services.evaluations import result_in_words
from lab.services.runs import RunView, done_in_words, list_views, newest_preview
from lab.widgets.pictures import show_pictures
from lab.words import escaped, exactly, state_badge

MOST_CARDS, MOST_WAITING, MOST_NEW = 6, 5, 8
STYLE = Path(__file__).with_name("overview.css")


@live_part(every_s=2)
def running_now() -> None:
    """Live cards; when the last run ends, the whole page is drawn again."""
    with problems_shown():
        views, held = list_views(comparisons=True), paused_ids()
        active = [view for view in views if view.is_active or view.id in held]
        if not active:
            page_again()
        live = [view for view in active if view.state != "queued" and view.id not in held]
        for view in live[:MOST_CARDS]:
            live_card(view)
        if len(live) > MOST_CARDS:
            st.page_link(page_file("runs"), label=f"{count(len(live) - MOST_CARDS)} more under Runs")
        waiting([view for view in active if view not in live])


def paused_ids() -> set[str]:
    """Runs whose place in the queue is kept."""
    return {entry.run.id for entry in run_actions.queue() if entry.state == "paused"}


def waiting(views: list[RunView]) -> None:
    """The next in the queue, a line each: turn, owner, what it waits for, when it starts."""
    if not views:
        return
    entries = {entry.run.id: entry for entry in run_actions.queue()}
    views = sorted(views, key=lambda view: (entries[view.id].place if view.id in entries else 0, view.id))
    st.markdown(f"**{count(len(views))}** waiting")
    for view in views[:MOST_WAITING]:
        entry = entries.get(view.id)
        held = entry is not None and entry.state == "paused"
        words = []
        if entry is not None and not held:
            words.append("next" if entry.place == 1 else f"place {count(entry.place)}")
            words += [f"waits for {entry.waits_for}"] if entry.waits_for else []
            words += [f"starts in about {duration(entry.expected_start_s)}"] if entry.expected_start_s else []
        _line(view, "paused" if held else "queued", " · ".join(words))
    if len(views) > MOST_WAITING:
        st.page_link(page_file("machine"), label=f"{count(len(views) - MOST_WAITING)} more in the queue")


def results(ended: list[RunView]) -> None:
    """The newest samples, what ended while this person was away, and what ended before."""
    sampled = next((view for view in ended if view.run.kind.generates and view.state == "finished"), None)
    preview = newest_preview(sampled.run) if sampled else None
    if sampled is not None and preview is not None:
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
            st.subheader("Latest samples", width="content")
            query = {"run": sampled.id}
            st.page_link(page_file("generate"), label="Generate with it", query_params=query, width="content")
        show_pictures(preview.images[:20], columns=min(10, len(preview.images)), width=660)
        st.caption(f"{escaped(sampled.title)}, step {count(preview.step)}, {ago(sampled.status.heartbeat_at)}")
    ended = sorted(ended, key=lambda view: view.status.heartbeat_at, reverse=True)
    since_s = since_here()
    new = [view for view in ended if since_s and _instant(view.status.heartbeat_at) > since_s]
    if new:
        st.subheader("Ended since your last visit")
        when = datetime.fromtimestamp(since_s, UTC).isoformat()
        more = f"; {count(len(new) - MOST_NEW)} more under Runs" if len(new) > MOST_NEW else ""
        st.caption(f"Your last visit ended {ago(when)}{more}.", help=exactly(when))
        for view in new[:MOST_NEW]:
            _ended(view)
    old = [view for view in ended if view not in new]
    if old:
        st.subheader("Ended before" if new else "Ended recently")
        for view in old[: max(3, 6 - len(new))]:
            _ended(view)


def _ended(view: RunView) -> None:
    status = view.status
    report = evaluations.measured_by(view)[1] if view.run.kind.evaluates else None
    done = done_in_words(view) if report is None else result_in_words(report)
    parts = [done, duration(status.elapsed_s), ago(status.heartbeat_at)]
    why = f"  \n{escaped(status.reason, 90)}" if view.state in ("failed", "interrupted") else ""
    _line(view, view.shown_state, " · ".join(part for part in parts if part), why)


def _line(view: RunView, state: str, facts: str, why: str = "") -> None:
    """One run in one line: its name as a link, what it is and whose, its state, and facts about it."""
    name, kind, badge, rest = st.columns([4, 3, 2, 5], vertical_alignment="center")
    with name:
        st.page_link(page_file("runs"), label=escaped(view.title), query_params={"run": view.id})
    kind.caption(f"{view.kind} · {escaped(view.data_name)} · {escaped(view.run.info.owner, 40)}")
    badge.markdown(state_badge(state))
    rest.caption(escaped(facts, 200) + why)


def _instant(iso: str) -> float:
    """Seconds since 1970; 0.0 for what is no instant."""
    found = instant(iso)
    return found.timestamp() if found else 0.0


def page(views: list[RunView]) -> None:
    """What runs, then what came out."""
    st.title("Overview")
    held = paused_ids()
    if any(view.is_active or view.id in held for view in views):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            live = any(view.is_active and view.state != "queued" for view in views)
            st.subheader("Running now" if live else "In the queue", width="content")
            notify_button()
        running_now()
    else:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("No run is active.", width="content")
            st.page_link(page_file("train"), label="Train a model", icon=":material/model_training:", width="content")
    over = [view for view in views if not view.is_active and view.id not in held]
    results([view for view in over if view.run.kind.listed])


def show() -> None:
    """Open what was started a moment ago, else what runs and what came out, or the way to begin."""
    started = st.session_state.pop(STARTED, "")
    if started:
        go_to("runs", started)
    st.html(STYLE)
    found = list_views(comparisons=True)
    page(found) if found else empty_lab()
