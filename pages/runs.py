"""Runs: how they are doing, and one run in full."""

from __future__ import annotations

import base64

import numpy as np
import pandas as pd
import streamlit as st

from core.errors import LabError
from lab.charts.curves import sparkline
from lab.components.pictures import mosaic, png
from lab.components.problems import problems_shown
from lab.components.run_detail import run_detail
from lab.services.runs import RunView, broken_folders, curves, list_views, newest_preview
from lab.state import page_file, select_run, selected_run
from lab.text import STATE_COLORS, ago, plain, sentence

FILTERS = ("all", "active", "finished", "ended early")
MOST_THUMBNAILS = 60


def wanted(view: RunView, shown: str, search: str) -> bool:
    """Whether a run passes the filter and the search."""
    early = view.state in ("failed", "stopped", "interrupted")
    fits = {"active": view.is_active, "finished": view.state == "finished", "ended early": early}
    words = f"{view.title} {view.id} {view.run.info.owner} {view.data_name}".lower()
    return fits.get(shown, True) and search.strip().lower() in words


def thumbnail(view: RunView) -> str:
    """Three newest pictures as a data address; '' when there are none."""
    preview = newest_preview(view.run)
    if preview is None:
        return ""
    sheet = mosaic(preview.images[:3], columns=3, zoom=max(1, 64 // preview.images.shape[2]))
    return "data:image/png;base64," + base64.b64encode(png(sheet)).decode()


def table() -> None:
    """All runs, newest first; a click on a row opens it."""
    with problems_shown():
        views = list_views()
        left, right = st.columns([3, 2], vertical_alignment="bottom")
        shown = left.segmented_control(
            "Show", FILTERS, default="all", required=True, key="show", bind="query-params", label_visibility="collapsed"
        )
        search = right.text_input(
            "Search", placeholder="name, id, owner, data set", key="search", bind="query-params",
            label_visibility="collapsed",
        )  # fmt: skip
        rows = [view for view in views if wanted(view, str(shown), search or "")]
        if not rows:
            st.caption(f"None of the {len(views)} runs fits.")
            return
        none = np.zeros(0)
        frame = pd.DataFrame(
            {
                "state": [[view.state] for view in rows],
                "name": [plain(view.title) for view in rows],
                "kind": [view.kind for view in rows],
                "data": [view.data_name for view in rows],
                "pictures": [thumbnail(view) if place < MOST_THUMBNAILS else "" for place, view in enumerate(rows)],
                "progress": [view.progress for view in rows],
                "loss": [sparkline(curves(view.run).get("loss", none)) for view in rows],
                "owner": [plain(view.run.info.owner, 60) for view in rows],
                "started": [ago(view.run.info.created_at) for view in rows],
            }
        )
        states = list(STATE_COLORS)
        columns = st.column_config
        event = st.dataframe(
            frame,
            hide_index=True,
            on_select="rerun",
            selection_mode="single-cell",
            key="runs-table",
            row_height=40,
            column_config={
                "name": columns.TextColumn("name", width=160),
                "owner": columns.TextColumn("owner", width=80),
                "state": columns.MultiselectColumn("state", options=states, color=list(STATE_COLORS.values())),
                "pictures": columns.ImageColumn("pictures", help="The newest previews", width=96),
                "progress": columns.ProgressColumn("progress", min_value=0, max_value=1, format="percent", width=110),
                "loss": columns.LineChartColumn("loss", help="Training loss, whole run", width=88),
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
    views = list_views()
    if views:
        st.fragment(table, run_every=3 if any(view.is_active for view in views) else None)()
    else:
        st.markdown("No runs yet. Start one, and watch it here.")
        st.page_link(page_file("train"), label="Train a model", icon=":material/model_training:")
    broken = broken_folders()
    if broken:
        with st.expander(f"{len(broken)} folder{'s' if len(broken) > 1 else ''} here cannot be read as a run"):
            for name, reason in broken:
                st.text(f"{plain(name)}: {plain(reason, 300)}")


try:
    if selected_run():
        run_detail(selected_run())
    else:
        overview()
except LabError as error:
    st.title("Runs")
    st.error(sentence(error), icon=":material/error:")
    if st.button("All runs", icon=":material/arrow_back:"):
        select_run("")
        st.rerun()
