"""Runs: how they are doing, and one run in full."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.errors import LabError
from lab.charts.curves import sparkline
from lab.components.run_detail import run_detail
from lab.services.runs import broken_folders, curves, list_views, sentence
from lab.state import page_file, select_run, selected_run
from lab.text import KIND_NAMES, ago

STATES_FIRST = ("all", "active", "finished", "ended early")


def table() -> None:
    """All runs, newest first; a click on a row opens it."""
    views = list_views()
    if not views:
        st.markdown("No runs yet. Start one, and watch it here.")
        st.page_link(page_file("train"), label="Train a model", icon=":material/model_training:")
        return
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    shown = left.segmented_control("Show", STATES_FIRST, default="all", required=True, label_visibility="collapsed")
    search = right.text_input("Search", placeholder="name, id, owner", label_visibility="collapsed").strip().lower()
    rows = [
        view
        for view in views
        if (shown == "all" or (shown == "active") == view.is_active)
        and (shown != "finished" or view.state == "finished")
        and (shown != "ended early" or view.state in ("failed", "stopped", "interrupted"))
        and search in f"{view.title} {view.id} {view.run.info.owner}".lower()
    ]
    frame = pd.DataFrame(
        {
            "state": [view.state for view in rows],
            "name": [view.title for view in rows],
            "kind": [KIND_NAMES[view.run.info.kind] for view in rows],
            "data": [view.run.settings.data.name for view in rows],
            "progress": [view.progress for view in rows],
            "step": [view.status.step for view in rows],
            "loss": [sparkline(curves(view.run).get("loss", pd.Series(dtype=float).to_numpy())) for view in rows],
            "owner": [view.run.info.owner for view in rows],
            "started": [ago(view.run.info.created_at) for view in rows],
        }
    )
    event = st.dataframe(
        frame,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-cell",
        key="runs-table",
        column_config={
            "progress": st.column_config.ProgressColumn(
                "progress", min_value=0, max_value=1, format="percent", width=130
            ),
            "loss": st.column_config.LineChartColumn("loss", help="Training loss, whole run", width=110),
            "step": st.column_config.NumberColumn("step", format="localized"),
        },
    )
    chosen = event["selection"]["cells"]
    if chosen and chosen[0][0] < len(rows):
        select_run(rows[chosen[0][0]].id)
        st.rerun()
    st.caption("Click a row to open the run.")


def overview() -> None:
    """The list, alive while something runs, and folders that cannot be read."""
    st.title("Runs")
    st.fragment(table, run_every=3 if any(view.is_active for view in list_views()) else None)()
    broken = broken_folders()
    if broken:
        with st.expander(f"{len(broken)} folder(s) that are not readable runs"):
            for name, reason in broken:
                st.text(f"{name}: {reason}")


try:
    if selected_run():
        run_detail(selected_run())
    else:
        overview()
except LabError as error:
    st.error(sentence(error), icon=":material/error:")
    if st.button("All runs", icon=":material/arrow_back:"):
        select_run("")
        st.rerun()
