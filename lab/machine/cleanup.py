"""What lies on the disk: runs by size with their checkpoints, the cache, a clean-up that shows first what goes and what
stays, and the trash."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from core.jobs.disk import CacheEntry, CleanupPlan, RunSize
from core.runs.kinds import kind_named
from core.words import ago, count, duration, size
from lab.frame.confirm import confirm_if_not_mine
from lab.frame.live_fragment import live_part
from lab.frame.problems import problems_shown
from lab.frame.state import page_file, who
from lab.services import machine, run_actions
from lab.services.runs import list_views
from lab.widgets.choice import choose
from lab.words import STATE_COLORS, escaped, exactly, plain

CHOICES: dict[machine.CleanupChoice, str] = {
    "old checkpoints": "All but the newest good checkpoint of runs that have ended",
    "failed runs": "Runs that failed or were interrupted; they go to the trash, from where they can come back",
    "unused caches": "Prepared arrays and latents that no active run uses; they are made again when needed",
    "trash": "Deleted runs",
}
MOST_LISTED = 12
ROW_HEIGHT = 35
MOST_HEIGHT = 422
_PLAN = "cleanup-plan"


def disk_tabs() -> None:
    """Four tabs: runs by size, cache, clean up, trash."""
    trashed = machine.trashed()
    names = ["Runs by size", "Cache", "Clean up", f"Trash ({len(trashed)})" if trashed else "Trash"]
    for tab, draw in zip(st.tabs(names, key="disk-tab"), (_runs, _cache, _clean_up, _trash), strict=True):
        with tab, problems_shown():
            draw()


@live_part()
def _runs() -> None:
    """Runs, the largest first; a click shows the checkpoints."""
    views = {view.id: view for view in list_views()}
    found = [item for item in machine.sizes() if item.run_id in views]
    if not found:
        st.caption("No runs yet, so nothing takes room.")
        return
    largest = max(item.total_bytes for item in found)
    shown = [views[item.run_id] for item in found]
    frame = pd.DataFrame(
        {
            "run": [plain(view.title, 60) for view in shown],
            "state": [[view.state] for view in shown],
            "owner": [plain(view.run.info.owner, 40) for view in shown],
            "share": [item.total_bytes / largest if largest else 0.0 for item in found],
            "size": [size(item.total_bytes) for item in found],
            "checkpoints": [_checkpoints_in_words(item) for item in found],
            "previews": [_or_dash(item.previews_bytes) for item in found],
            "log, metrics": [_or_dash(item.log_bytes + item.metrics_bytes) for item in found],
        }
    )
    columns = st.column_config
    st.caption(
        f"{count(len(found))} run{'s' if len(found) > 1 else ''}, {size(sum(item.total_bytes for item in found))} "
        "in all. Tick a row to see its checkpoints."
    )
    st.caption(" · ".join(escaped(use.in_words) for use in machine.disk_use()[:MOST_LISTED]))
    event = st.dataframe(
        frame,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="sizes-table",
        height=min(MOST_HEIGHT, ROW_HEIGHT * (len(found) + 1) + 2),
        column_config={
            "state": columns.MultiselectColumn("state", options=list(STATE_COLORS), color=list(STATE_COLORS.values())),
            "share": columns.ProgressColumn("", min_value=0, max_value=1, format=" ", width=90),
            "size": columns.TextColumn("size", width=80),
        },
    )
    rows = event["selection"]["rows"]
    if rows and rows[0] < len(found):
        _checkpoints(found[rows[0]], shown[rows[0]].title)


def _checkpoints_in_words(item: RunSize) -> str:
    if not item.checkpoints:
        return "–"
    return f"{len(item.checkpoints)} · {size(sum(num_bytes for _, num_bytes in item.checkpoints))}"


def _or_dash(num_bytes: int) -> str:
    return size(num_bytes) if num_bytes else "–"


def _checkpoints(item: RunSize, title: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        label = f"**{escaped(title, 60)}**"
        st.page_link(page_file("runs"), label=label, query_params={"run": item.run_id}, width="content")
    if not item.checkpoints:
        st.caption("It has no checkpoints.")
        return
    steps = sorted(item.checkpoints, reverse=True)
    st.dataframe(
        pd.DataFrame(
            {
                "checkpoint": [f"step {count(step)}" for step, _ in steps],
                "size": [size(num_bytes) for _, num_bytes in steps],
            }
        ),
        hide_index=True,
        width=320,
    )


def _cache() -> None:
    entries = machine.cache_entries()
    if not entries:
        st.caption("The cache is empty.")
        return
    st.caption(
        f"{size(sum(entry.size_bytes for entry in entries))} of prepared data. It can be made again from the datasets: "
        "removing it costs time, never results."
    )
    frame = pd.DataFrame(
        {
            "what": [plain(entry.kind, 40) for entry in entries],
            "name": [plain(entry.name, 80) for entry in entries],
            "size": [size(entry.size_bytes) for entry in entries],
            "last used": [ago(entry.last_used) for entry in entries],
            "in use by": [_users(entry) for entry in entries],
        }
    )
    st.dataframe(frame, hide_index=True, height=min(MOST_HEIGHT, ROW_HEIGHT * (len(entries) + 1) + 2))


def _users(entry: CacheEntry) -> str:
    return f"{len(entry.used_by)} active run{'s' if len(entry.used_by) > 1 else ''}" if entry.used_by else "nobody"


@live_part()
def _clean_up() -> None:
    """Choose, look, apply. What is shown is what goes, and nothing else."""
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    choice = choose("Remove", list(CHOICES), key="cleanup-choice", cell=left, in_url=False)
    days = right.number_input(
        "older than (days)", min_value=0.0, max_value=3650.0, value=7.0, step=1.0, format="%g", key="cleanup-days"
    )
    st.caption(CHOICES[choice])
    if st.button("Show what would go", icon=":material/visibility:"):
        with problems_shown(), st.spinner("Looking"):
            st.session_state[_PLAN] = (choice, days, machine.plan_cleanup(choice, float(days), who()))
    kept = st.session_state.get(_PLAN)
    if kept and kept[:2] == (choice, days):
        _preview(kept[2])


def _preview(plan: CleanupPlan) -> None:
    goes, stays = st.columns(2, gap="large")
    with goes:
        st.markdown(f"**Goes:** {_things(len(plan.goes))}, {size(plan.bytes)}" if plan.goes else "**Goes:** nothing")
        _lines([f"{escaped(item.words, 140)} :gray[{size(item.size_bytes)}]" for item in plan.goes])
    with stays:
        st.markdown("**Stays**")
        _lines([escaped(words, 200) for words in plan.stays] or ["everything else"])
    if not plan.goes:
        return
    to_trash = plan.choice == "failed runs"
    label = (
        f"Move {_things(len(plan.goes))} to the trash" if to_trash else f"Remove {_things(len(plan.goes))} permanently"
    )
    if st.button(label, type="primary", icon=":material/delete_sweep:"):
        me = who()
        others = [owner for owner in machine.owners_of(plan) if owner != me]
        confirm_if_not_mine(", ".join(others) or me, "remove", partial(_apply, plan), what="what belongs to")


def _apply(plan: CleanupPlan) -> None:
    freed = machine.apply_cleanup(plan, who())
    st.session_state.pop(_PLAN, None)
    less = f" of {size(plan.bytes)}; the rest is in use now" if freed < plan.bytes else ""
    st.toast(f"{size(freed)}{less} in the trash" if plan.choice == "failed runs" else f"{size(freed)}{less} freed")
    st.rerun()


def _things(number: int) -> str:
    return f"{count(number)} thing{'s' if number > 1 else ''}"


def _lines(lines: list[str]) -> None:
    st.markdown("\n".join(f"- {line}" for line in lines[:MOST_LISTED]))
    if len(lines) > MOST_LISTED:
        with st.expander(f"and {len(lines) - MOST_LISTED} more"):
            st.markdown("\n".join(f"- {line}" for line in lines[MOST_LISTED:200]))


def _trash() -> None:
    found = machine.trashed()
    if not found:
        st.caption("The trash is empty. A deleted run can be brought back from here.")
        return
    for item in found:
        words, when, button = st.columns([4, 4, 1.5], vertical_alignment="center")
        kind = plain(kind_named(item.kind).title, 20)
        words.markdown(
            f"**{escaped(item.name or item.id, 60)}**  \n"
            f":gray[:small[{escaped(kind)} · {size(item.size_bytes)} · {escaped(item.id, 60)}]]"
        )
        by = f"deleted by {escaped(item.by or 'unknown', 40)} {ago(item.at)}"
        when.markdown(f":gray[{by}]{_leaves(item.expires_at)}", help=exactly(item.at) or None)
        if button.button("Restore", icon=":material/undo:", key=f"restore-{item.id}"):
            confirm_if_not_mine(item.owner, "restore", partial(_restore, item.id))


def _leaves(expires_at: str) -> str:
    left = _seconds_until(expires_at)
    return f"  \n:gray[:small[deleted permanently in {duration(left)}]]" if left is not None else ""


def _seconds_until(iso: str) -> float | None:
    try:
        return max(0.0, (pd.Timestamp(iso) - pd.Timestamp.now(tz="UTC")).total_seconds())
    except (ValueError, TypeError):
        return None


def _restore(trash_id: str) -> None:
    run_actions.restore(trash_id, who())
    st.toast("It is back among the runs")
    st.rerun()
