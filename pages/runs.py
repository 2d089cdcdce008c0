"""Runs: how they are doing, and one run in full."""

from __future__ import annotations

import time

import streamlit as st

from core.errors import LabError
from lab.frame.live_fragment import live_part
from lab.frame.problems import problems_shown
from lab.frame.state import page_file, selected_run
from lab.runs.action_buttons import DELETED, Deleted, undo_line
from lab.runs.bulk_actions import COMPARED
from lab.runs.run_detail import run_detail
from lab.runs.runs_table import runs_table
from lab.services.runs import broken_folders, list_views
from lab.words import plain, sentence

UNDO_S = 900.0


def overview() -> None:
    """The list, alive while something runs, and folders that cannot be read."""
    st.title("Runs")
    deleted: list[Deleted] = st.session_state.get(DELETED, [])
    for entry in [entry for entry in deleted if time.time() - entry.at < UNDO_S]:
        undo_line(entry)
    views = list_views()
    if views:
        live_part(every_s=3 if any(view.is_active for view in views) else 15)(_table)()
    else:
        st.markdown("No runs yet. Start one, and watch it here.")
        st.page_link(page_file("train"), label="Train a model", icon=":material/model_training:")
    broken = broken_folders()
    if broken:
        with st.expander(f"{len(broken)} folder{'s' if len(broken) > 1 else ''} here cannot be read as a run"):
            for name, reason in broken:
                st.text(f"{plain(name)}: {plain(reason, 300)}")


def _table() -> None:
    with problems_shown():
        runs_table()


def all_runs() -> None:
    """The way back to the list."""
    st.page_link(page_file("runs"), label="All runs", icon=":material/arrow_back:", width="content")


try:
    compared = [part for part in st.query_params.get(COMPARED, "").split(",") if part]
    if selected_run():
        run_detail(selected_run())
    elif compared:
        st.switch_page(page_file("compare"), query_params={"runs": ",".join(compared)})
    else:
        overview()
except LabError as error:
    st.title("Runs")
    st.error(sentence(error), icon=":material/error:")
    all_runs()
