"""The queue: who is next, when it will start, and buttons to change that; acting on another's run asks first."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from core.jobs.queue_entry import QueueEntry
from core.jobs.turns import standing_in_words
from core.words import ago, duration
from lab.frame.confirm import confirm_if_not_mine, may_act_on
from lab.frame.live_fragment import live_part
from lab.frame.problems import problems_shown
from lab.frame.state import page_file, who
from lab.machine.machine_cards import run_link, run_title
from lab.services import machine, run_actions
from lab.words import escaped, exactly, state_badge

MOST_ROWS = 15
SOON_S = 3.0
WIDTHS = (0.5, 4.4, 2.2, 3.6, 2.6)
DEVICES = {"auto": "any device", "cpu": "CPU", "cuda": "any GPU"}
PRIORITIES = {"High priority": 5, "Normal priority": 0, "Low priority": -5}
ICONS = {
    "To the front": ":material/vertical_align_top:",
    "To the back": ":material/vertical_align_bottom:",
    "High priority": ":material/keyboard_double_arrow_up:",
    "Normal priority": ":material/horizontal_rule:",
    "Low priority": ":material/keyboard_double_arrow_down:",
    "Hold": ":material/pause:",
    "Pause": ":material/pause:",
    "Continue": ":material/play_arrow:",
    "Take out": ":material/close:",
    "Stop": ":material/stop:",
}


@live_part(every_s=2)
def queue_table() -> None:
    """Live runs and those that wait, in the order in which they are served; alive."""
    with problems_shown():
        _supervisor()
        entries = run_actions.queue()
        if not entries:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown("Nothing runs and nothing waits.")
                st.page_link(
                    page_file("train"), label="Train something", icon=":material/model_training:", width="content"
                )
            return
        _head()
        shown = entries if st.session_state.get("queue-all") else entries[:MOST_ROWS]
        names = {entry.run.id: run_title(entry.run) for entry in entries}
        for entry in shown:
            _row(entry, names, last=max(other.place for other in entries))
        if len(entries) > MOST_ROWS:
            st.toggle(f"Show all {len(entries)}", key="queue-all")


def _supervisor() -> None:
    """Whether anything serves the queue; a warning when not."""
    state = machine.supervisor()
    if state.problem:
        st.warning(escaped(state.problem, 400), icon=":material/warning:")
    elif not state.alive:
        st.warning("The supervisor is not running yet: it starts within seconds.", icon=":material/hourglass_top:")
    else:
        since = f" for {ago(state.started_at).removesuffix(' ago')}" if ago(state.started_at).endswith(" ago") else ""
        st.caption(
            f"Served by {state.name}{since}; it continues when this page is closed.",
            help=exactly(state.started_at) or None,
        )


def _head() -> None:
    names = ("", "run", "state", "when", "")
    for column, name in zip(st.columns(WIDTHS, vertical_alignment="center"), names, strict=True):
        if name:
            column.caption(name)


def _row(entry: QueueEntry, names: Mapping[str, str], *, last: int) -> None:
    place, run, state, when, actions = st.columns(WIDTHS, vertical_alignment="center")
    waits = entry.state in ("queued", "paused")
    place.markdown(f"**{entry.place}**" if waits else ":blue[:material/play_arrow:]")
    with run.container(gap=None):
        run_link(entry.run, "queue")
        facts = [
            entry.run.kind.title,
            escaped(entry.owner or "somebody", 40),
            escaped(DEVICES.get(entry.device, entry.device), 40),
        ]
        st.caption(" · ".join(facts))
    priority = f"  \n:gray[:small[priority {entry.priority:+d}]]" if entry.priority else ""
    state.markdown(_badge(entry.state) + priority)
    when.markdown(_when(entry, names))
    if not may_act_on(entry.owner):
        return
    with actions.container(horizontal=True, horizontal_alignment="right", gap="xsmall"):
        if waits:
            _arrow(entry, "up", "arrow_upward", "Move up", disabled=entry.place <= 1)
            _arrow(entry, "down", "arrow_downward", "Move down", disabled=entry.place >= last)
        chosen = st.menu_button(
            "More",
            _choices(entry),
            type="tertiary",
            key=f"queue-menu-{entry.run.id}",
            format_func=lambda choice: f"{ICONS[choice]} {choice}",
        )
        if chosen:
            _act(entry, chosen)


def _badge(state: str) -> str:
    return ":gray-badge[:material/pause: on hold]" if state == "paused" else state_badge(state)


def _when(entry: QueueEntry, names: Mapping[str, str]) -> str:
    """Expected start or end, and what it waits for, as Markdown. names: titles of the runs in the queue, by id."""
    if entry.state == "queued":
        start = "" if entry.expected_start_s is None else f"starts in about {duration(entry.expected_start_s)}"
        if entry.expected_start_s is not None and entry.expected_start_s < SOON_S:
            start = "starts any moment"
        waits = _waits_for(entry, names)
        if entry.made_room:
            waits = f"{escaped(entry.made_room, 120)}  \n{waits}" if waits else escaped(entry.made_room, 120)
        if standing := standing_in_words(entry.standing, entry.owner, who()):
            waits = f"{waits}  \n{escaped(standing, 120)}" if waits else escaped(standing, 120)
        return _two_lines(start or waits or "waits for its turn", waits if start else "")
    if entry.state == "paused":
        return _two_lines("until someone resumes it", "")
    end = f"about {duration(entry.expected_end_s)} left" if entry.expected_end_s is not None else ""
    since = f"started {ago(entry.started_at)}" if ago(entry.started_at) else ""
    return _two_lines(end or since, since if end else "")


def _waits_for(entry: QueueEntry, names: Mapping[str, str]) -> str:
    words = entry.waits_for
    for run_id, name in names.items():
        words = words.replace(run_id, name)
    if not words:
        return ""
    return escaped(words if " is used by " in words else f"waits for {words}", 160)


def _two_lines(first: str, second: str) -> str:
    return f":small[{first}]" + (f"  \n:gray[:small[{second}]]" if second else "")


def _arrow(entry: QueueEntry, to: machine.Move, icon: str, words: str, *, disabled: bool) -> None:
    if st.button(
        "",
        icon=f":material/{icon}:",
        key=f"queue-{to}-{entry.run.id}",
        type="tertiary",
        help=words,
        disabled=disabled,
    ):
        _do(entry, words.lower(), lambda: machine.move(entry.run.id, to, who()))


def _choices(entry: QueueEntry) -> list[str]:
    if entry.state in ("queued", "paused"):
        priorities = [name for name, value in PRIORITIES.items() if value != entry.priority]
        hold = "Continue" if entry.state == "paused" else "Hold"
        return ["To the front", "To the back", *priorities, hold, "Take out"]
    return ["Stop"] if entry.state == "stopping" else ["Pause", "Stop"]


def _act(entry: QueueEntry, choice: str) -> None:
    run_id = entry.run.id
    if choice in PRIORITIES:
        priority = PRIORITIES[choice]
        _do(entry, f"give {choice.lower()} to", lambda: machine.set_priority(run_id, priority, who()))
    elif choice == "To the front":
        _do(entry, "move to the front", lambda: machine.move(run_id, "first", who()))
    elif choice == "To the back":
        _do(entry, "move to the back", lambda: machine.move(run_id, "last", who()))
    elif choice == "Continue":
        _do(entry, "continue", lambda: run_actions.resume(run_id, who()))
    elif choice in ("Hold", "Pause"):
        _do(entry, choice.lower(), lambda: run_actions.pause(run_id, who()))
    else:
        _do(entry, choice.lower(), lambda: run_actions.stop(run_id, who()))


def _do(entry: QueueEntry, verb: str, action: Callable[[], None]) -> None:
    """Run it, after a question when the run is another's, and draw the page again."""

    def _and_redraw() -> None:
        action()
        st.rerun()

    confirm_if_not_mine(entry.owner, verb, _and_redraw)
