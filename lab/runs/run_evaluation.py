"""What a run is worth: its newest evaluation beside the ceiling of its VAE, what is measured now, and a button.

An evaluation's own page shows the same report.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from core.evaluation.ceiling_results import Ceiling, ceiling_for, ceiling_rows, in_words
from core.evaluation.report import Report, ceiling_beside, class_rows, list_reports, measure_rows, unreadable_results
from core.home import PROGRAM
from core.words import ago, count
from lab.evaluate.score_card import conditions
from lab.frame.state import page_file
from lab.runs.evaluation_form import evaluate_button
from lab.services import evaluations, runs
from lab.services.runs import RunView
from lab.widgets.run_card import progress, whole_reason
from lab.words import escaped, state_badge

CEILING_HELP = (
    "Real images through the VAE alone: no U-Net on it can be expected to do better. A U-Net far below it can still "
    "learn; one at it needs a better VAE (arXiv 2112.10752, section 4.1)."
)


def run_evaluation(view: RunView) -> None:
    """What is measured now, the figures of the newest evaluation, and the ceiling of the VAE; or the way to them."""
    run = view.run
    reports = list_reports(run) if run.kind.generates else []
    ceiling = ceiling_beside(run, reports[0]) if reports else ceiling_for(run)
    if run.kind.generates:
        _now(view, has_report=bool(reports))
    if reports:
        st.caption(f"Evaluated {ago(reports[0].created_at)}, the newest of {count(len(reports))}")
        show_report(reports[0], ceiling)
    if ceiling is not None:
        st.markdown(f"**VAE ceiling.** {escaped(in_words(ceiling), 500)}", help=CEILING_HELP)
        if not reports:
            _table(ceiling_rows(ceiling))
    else:
        st.caption("The ceiling of its VAE was not measured" + (" with this judge." if reports else "."))
    if reports:
        st.page_link(
            page_file("evaluate"),
            label="Score card, confusion and nearest training images",
            icon=":material/grading:",
            query_params={"run": view.id},
        )
    for problem in unreadable_results(run):
        st.caption(escaped(problem, 300))
    st.page_link(
        page_file("latents"),
        label="Look inside its latents",
        icon=":material/grid_view:",
        query_params={"run": view.id, "view": "Ceiling"},
    )


def _now(view: RunView, *, has_report: bool) -> None:
    """The evaluation that waits or works, with a link to it; else how the last one ended badly, and the button."""
    active = evaluations.active_of(view.id)
    if active is not None:
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(state_badge(active.state), width="content")
                st.page_link(page_file("runs"), label=escaped(active.title), query_params={"run": active.id})
            progress(active)
        return
    if not runs.checkpoints(view.run):
        st.caption("Not evaluated yet. It can be, from its first checkpoint on.")
        return
    last = next(iter(evaluations.evaluations_of(view.id)), None)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        evaluate_button(view, label="Evaluate again" if has_report else "Evaluate", key="tab-evaluate")
        if last is not None and last.state != "finished":
            st.markdown(state_badge(last.state), width="content")
            st.page_link(page_file("runs"), label=escaped(last.title), query_params={"run": last.id}, width="content")
        elif not has_report:
            st.markdown(
                "Not evaluated yet.",
                help=f"In a terminal: `{PROGRAM} evaluate {view.id}`",
                width="content",
            )


def evaluation_report(view: RunView) -> None:
    """The page of an evaluation: what it found on the run that it measures, or how far it is."""
    measured, report = evaluations.measured_by(view)
    whole_reason(view)
    if report is None:
        st.caption("The figures appear when it has finished." if view.is_active else "It left no report.")
        return
    show_report(report, ceiling_beside(measured.run, report) if measured else None)


def show_report(report: Report, ceiling: Ceiling | None) -> None:
    """Its conditions in words, every measure as a table, and the classes behind a fold."""
    st.markdown(escaped(conditions(report), 600))
    _table(measure_rows(report, ceiling))
    with st.expander(f"Accuracy of each of {count(len(report.per_class))} classes"):
        _table(class_rows(report), first="class")


def _table(rows: list[tuple[str, str, str]], first: str = "metric") -> None:
    st.dataframe(
        pd.DataFrame(rows, columns=[first, "value", "note"]), hide_index=True, width="stretch", height="content"
    )
