"""What a run left on record: newest metrics, settings, log, checkpoints, events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
import yaml

from core.config.frozen import dump_settings
from core.config.load import differences, load_config
from core.config.schema import Settings
from core.errors import LabError
from core.runs.listing import CheckpointInfo
from core.words import ago, count, duration, size
from lab.frame.state import page_file
from lab.runs.run_window import open_window
from lab.services import run_actions, runs
from lab.services.runs import RunView
from lab.widgets.config_form import shown_value
from lab.words import escaped, exactly, plain, significant

METRIC_NAMES = {
    "step": "steps done",
    "images_seen": "images seen",
    "elapsed_s": "time in training",
    "loss": "training loss",
    "val_loss": "validation loss",
    "reconstruction": "reconstruction error",
    "edge": "edge error",
    "kl": "KL divergence",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm before clipping",
    "images_per_s": "images/s",
    "eval_class_accuracy": "class accuracy during the training",
    "eval_fd_judge": "FD-judge during the training",
}

SITE_SECTIONS = ("machine", "paths", "logging")
MOST_CHECKPOINTS = 8
LOG_PX = 360


def run_metrics(view: RunView) -> None:
    """The newest value of each metric, and every logged line to download."""
    columns = runs.curves(view.run)
    if problem := runs.curves_problem(view.run):
        st.warning(escaped(problem, 300))
    if not columns:
        st.caption("Nothing logged yet.")
        return
    last = {name: _last(values) for name, values in columns.items()}
    frame = pd.DataFrame(
        {
            "metric": [METRIC_NAMES.get(name, plain(name)) for name in last],
            "newest value": [_as_read(name, value) for name, value in last.items()],
        }
    )
    st.dataframe(frame, hide_index=True, width=460)
    st.download_button(
        "All lines (CSV)",
        lambda: runs.as_csv(view.run),
        f"{view.id}.csv",
        icon=":material/download:",
        type="tertiary",
    )


def _last(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else None


def _as_read(name: str, value: float | None) -> str:
    if name in ("step", "images_seen", "images_per_s"):
        return count(value)
    return duration(value) if name == "elapsed_s" else significant(value)


def run_settings(view: RunView) -> None:
    """What differs from the parent or the preset first, then all settings and the versions that it ran with."""
    info = view.run.info
    st.page_link(
        page_file("train"),
        label="Duplicate with these settings",
        icon=":material/content_copy:",
        query_params={"like": view.id},
    )
    if flaw := view.run.settings_flaw:
        st.caption(f"Left out: {escaped(flaw)}")
    base, words = _compared_with(view)
    if base is not None:
        rows = [row for row in differences(base, view.run.shown_settings) if row[0].split(".")[0] not in SITE_SECTIONS]
        st.markdown(f"**{count(len(rows))} changed** from {words}" if rows else f"Nothing changed from {words}")
        if rows:
            shown = [(name, shown_value(before), shown_value(now)) for name, before, now in rows]
            frame = pd.DataFrame(shown, columns=["setting", "there", "here"])
            st.dataframe(frame, hide_index=True, width="stretch", height="content" if len(rows) < 12 else 430)
    with st.expander(f"All settings, as stored when run {plain(view.id)} was created", expanded=base is None):
        st.code(dump_settings(view.run.shown_settings), language="yaml", height=420)
    with st.expander("Versions"):
        st.code(yaml.safe_dump({"revision": info.revision, "versions": dict(info.versions)}), language="yaml")


def _compared_with(view: RunView) -> tuple[Settings | None, str]:
    """The settings that these are told apart from, and what they are; None without any."""
    info = view.run.info
    if info.branched_from:
        try:
            origin = runs.view_of(info.branched_from)
            return origin.run.shown_settings, f"the run that it branched from, {escaped(origin.title, 60)}"
        except LabError:
            pass
    try:
        return (load_config(preset=info.preset), f"the preset {escaped(info.preset)}") if info.preset else (None, "")
    except LabError:
        return None, ""


def run_log(view: RunView) -> None:
    """The end of the log, and the whole of it to download."""
    text = runs.log_tail(view.run)
    if not text:
        st.caption("Nothing printed yet.")
        return
    with st.container(key="run-log", height=LOG_PX, border=True, autoscroll=True):
        st.text(text)  # st.code loads 1.6 MB of script to color nothing
    _log_download(view, "log-tab")


def _log_download(view: RunView, key: str) -> None:
    try:
        whole = view.run.log_path.stat().st_size
    except OSError:
        return
    st.download_button(
        f"Whole log ({size(whole)})",
        lambda: run_actions.log_end(view.run),
        f"{view.id}.txt",
        "text/plain",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
        key=key,
    )


def run_checkpoints(view: RunView) -> None:
    """Newest first, each with a way to start from it again."""
    found = list(reversed(runs.checkpoints(view.run)))
    if not found:
        st.caption("None yet.")
        return
    for item in found[:MOST_CHECKPOINTS]:
        step, facts, button = st.columns([2, 3, 3], vertical_alignment="center", width=620)
        step.markdown(f"**step {count(item.step)}**")
        facts.caption(f"{size(item.size_bytes)}, saved {ago(_saved_at(item))}")
        if button.button("Branch from here", icon=":material/call_split:", key=f"branch-{item.step}"):
            open_window("branch", view.id, step=item.step)
    older = len(found) - MOST_CHECKPOINTS
    if older > 0:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            steps = [item.step for item in found[MOST_CHECKPOINTS:]]
            chosen = st.selectbox(f"{count(older)} older ones", steps, format_func=lambda step: f"step {count(step)}")
            if st.button("Branch from there", icon=":material/call_split:", key="branch-older"):
                open_window("branch", view.id, step=chosen)
    st.caption(f"In the run's folder: {', '.join(f'checkpoints/{item.path.name}' for item in found[:2])}")


def _saved_at(item: CheckpointInfo) -> str:
    try:
        return datetime.fromtimestamp(item.path.stat().st_mtime, UTC).isoformat()
    except OSError:
        return ""


def run_events(view: RunView) -> None:
    """Who did what with the run and when, newest first."""
    rows = [_event(event) for event in reversed(view.run.events())]
    if not rows:
        st.caption("None on record.")
        return
    st.dataframe(pd.DataFrame(rows, columns=["when", "exactly", "what", "by", "details"]), hide_index=True)


def _event(event: dict[str, Any]) -> tuple[str, str, str, str, str]:
    at = str(event.get("at", ""))
    known = {"at", "event", "by"}
    details = ", ".join(
        f"{key} {value}" for key, value in event.items() if key not in known and value not in ("", None)
    )
    what, by = plain(str(event.get("event", ""))), plain(str(event.get("by") or ""))
    return ago(at), exactly(at), what, by, plain(details, 300)
