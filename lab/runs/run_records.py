"""What a run left on record, in tabs: newest metrics, frozen settings, log, checkpoints, events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
import yaml

from core.config.frozen import dump_settings
from core.runs.listing import CheckpointInfo
from core.words import ago, count, duration, size
from lab.frame.live_fragment import window
from lab.frame.problems import problems_shown
from lab.runs.run_evaluation import run_evaluation
from lab.runs.run_export import run_export
from lab.runs.run_window import close_window, open_window
from lab.services import run_actions, runs
from lab.services.runs import RunView
from lab.words import escaped, exactly, plain, significant

METRIC_NAMES = {
    "step": "steps done",
    "images_seen": "pictures seen",
    "elapsed_s": "time in training",
    "loss": "training loss",
    "val_loss": "held-out loss",
    "reconstruction": "reconstruction error",
    "edge": "edge error",
    "kl": "KL divergence",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm before clipping",
    "images_per_s": "pictures a second",
}

LOG_LINES = 300
MOST_CHECKPOINTS = 8


def run_records(view: RunView) -> None:
    """The tabs; each opens although another cannot be read."""
    records = {
        "Metrics": _metrics,
        "Evaluation": run_evaluation,
        "Configuration": _configuration,
        "Log": _log,
        "Checkpoints": _checkpoints,
        "Events": _events,
    }
    if view.run.kind.generates:
        records["Export"] = run_export
    for tab, draw in zip(st.tabs(list(records)), records.values(), strict=True):
        with tab, problems_shown():
            draw(view)


def _metrics(view: RunView) -> None:
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


def _configuration(view: RunView) -> None:
    info = view.run.info
    preset = f" from the preset {escaped(info.preset)}" if info.preset else ""
    st.caption(f"Frozen when run {view.id} was created{preset}")
    if flaw := view.run.settings_flaw:
        st.caption(f"Left out: {escaped(flaw)}")
    st.code(dump_settings(view.run.shown_settings), language="yaml", height=420)
    st.code(yaml.safe_dump({"revision": info.revision, "versions": dict(info.versions)}), language="yaml")


def _log(view: RunView) -> None:
    text = runs.log_tail(view.run)
    if not text:
        st.caption("Nothing printed yet.")
        return
    st.code(text, language=None, height=360)
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


def log_window(view: RunView) -> None:
    """The end of the log, with the whole of it to download."""
    window("The end of its log", _log_window, width="large", on_dismiss=close_window)(view)


def _log_window(view: RunView) -> None:
    text = runs.log_tail(view.run)
    if not text:
        st.caption("It printed nothing.")
        return
    st.code("\n".join(text.splitlines()[-LOG_LINES:]), language=None, height=460)
    _log_download(view, "log-window")


def _checkpoints(view: RunView) -> None:
    """Newest first, each with a way to start from it again."""
    found = list(reversed(runs.checkpoints(view.run)))
    if not found:
        st.caption("None yet.")
        return
    for item in found[:MOST_CHECKPOINTS]:
        step, facts, button = st.columns([2, 3, 3], vertical_alignment="center", width=620)
        step.markdown(f"**step {count(item.step)}**")
        facts.caption(f"{size(item.size_bytes)}, saved {ago(_saved_at(item))}")
        if button.button("Restart from here", icon=":material/call_split:", key=f"branch-{item.step}"):
            open_window("branch", view.id, step=item.step)
    older = len(found) - MOST_CHECKPOINTS
    if older > 0:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            steps = [item.step for item in found[MOST_CHECKPOINTS:]]
            chosen = st.selectbox(f"{count(older)} older ones", steps, format_func=lambda step: f"step {count(step)}")
            if st.button("Restart from there", icon=":material/call_split:", key="branch-older"):
                open_window("branch", view.id, step=chosen)
    st.caption(f"In the run's folder: {', '.join(f'checkpoints/{item.path.name}' for item in found[:2])}")


def _saved_at(item: CheckpointInfo) -> str:
    try:
        return datetime.fromtimestamp(item.path.stat().st_mtime, UTC).isoformat()
    except OSError:
        return ""


def _events(view: RunView) -> None:
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
