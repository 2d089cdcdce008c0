"""The report of a run, on the tab Export of its page: made in the background, then a file to save."""

from __future__ import annotations

import streamlit as st

from core.compute.questions import REPORT_RUNS
from core.model_folders.model_facts import folder_name_like
from core.words import size
from lab.frame.live_fragment import live_until
from lab.frame.problems import problems_shown
from lab.frame.state import who
from lab.frame.task_progress import bar, result_once
from lab.services import background
from lab.services.background import own_key
from lab.services.computing import asked
from lab.services.runs import RunView
from lab.services.settings import current_site

MAKING = "Writing the report"
TICK_S = 0.5
KEPT = "run-report"  # in the session: (run id, step, the file)


def run_report(view: RunView) -> None:
    """What a report is, a button that makes one, and the one that was made."""
    what = f"report of {view.id}"
    key = own_key(what, who())
    st.markdown(
        "**Report.** One HTML file that opens without a network: curves, film, settings, measures, and the commands "
        "that train the run again. It names no owner and no folder of this server."
    )
    work = background.find(key)
    if work is not None and not work.is_done:
        live_until(lambda: _is_done(key), lambda: _bar(key), every_s=TICK_S)
        return
    made = result_once(key, MAKING)
    if made is not None:
        st.session_state[KEPT] = (view.id, view.status.step, made)
    run_id, step, page = st.session_state.get(KEPT, ("", 0, b""))
    is_new = run_id == view.id and step == view.status.step
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if is_new:
            st.download_button(
                "Save the report",
                page,
                f"{folder_name_like(view.title)[:40] or 'run'}-report.html",
                "text/html",
                icon=":material/download:",
                type="primary",
                on_click="ignore",
                key=f"report-{view.id}/save",
            )
            st.caption(size(len(page)), width="content")
        if st.button(
            "Write it again" if is_new else "Write the report",
            icon=":material/article:",
            key=f"report-{view.id}/make",
        ):
            with problems_shown():
                task = asked(REPORT_RUNS, (view.id,), current_site())
                background.begin_alone(what, who(), task, busy=f"{view.id}: a report is being written")
                st.rerun()


def _is_done(key: str) -> bool:
    work = background.find(key)
    return work is None or work.is_done


def _bar(key: str) -> None:
    if work := background.find(key):
        bar(work, MAKING)
