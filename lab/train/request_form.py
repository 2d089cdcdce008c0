"""When and how the run may run: what belongs to its request, and to no setting. At most four fields."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.jobs.request import JobRequest, in_words, moment_in, seconds_in
from lab.train.training_service import interrupts_usually, request_fields

ENDS = {"saves and ends": False, "is queued again": True}
INTERRUPTED = {"usual": None, "yes": True, "no": False}


def request_form() -> tuple[dict[str, Any], str]:
    """(fields of a `JobRequest`, the same in words); raises UsageError for what is not a time."""
    offered = request_fields()
    asked: dict[str, Any] = {}
    with st.expander("When and how it may run", icon=":material/schedule:", key="request"):
        limit_cell, end_cell, start_cell, last_cell = st.columns(4)
        limit = limit_cell.text_input(
            "Time limit",
            placeholder="none",
            max_chars=20,
            key="time-limit",
            persist_state="session",
            help="As 2h, 90m or 1d; it counts from each start.",
        )
        end = end_cell.selectbox(
            "At the limit, it", list(ENDS), key="at-limit", persist_state="session", disabled=not limit.strip()
        )
        start = start_cell.text_input(
            "Not before",
            placeholder="now",
            max_chars=40,
            key="start-at",
            persist_state="session",
            help="22:00, 2026-12-24 08:30 or +2h, by the clock of this server.",
        )
        if "preemptible" in offered:
            usual = "as usual here: yes" if interrupts_usually() else "as usual here: no"
            chosen = last_cell.selectbox(
                "May be interrupted",
                list(INTERRUPTED),
                format_func=lambda choice: usual if choice == "usual" else choice,
                key="preemptible",
                persist_state="session",
                help="Saved and queued again for short runs and for people who used less; it continues by itself.",
            )
            asked["preemptible"] = INTERRUPTED[str(chosen)]
        if "partition" in offered:
            asked["partition"] = last_cell.text_input(
                "Partition", placeholder="as usual here", max_chars=80, key="partition", persist_state="session"
            ).strip()
    if limit.strip():
        asked |= {"time_limit_s": seconds_in(limit), "requeue": ENDS[str(end)]}
    if start.strip():
        asked["start_at"] = moment_in(start)
    asked = {name: value for name, value in asked.items() if value is not None and value != ""}
    return asked, in_words(JobRequest().with_changes(asked))
