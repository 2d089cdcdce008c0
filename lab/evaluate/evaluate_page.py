"""The Evaluate page: a run's score card, what is wrong with its images, and what that rests on."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.evaluation.report import Report, ceiling_beside, list_reports, unreadable_results
from core.evaluation.scores import confusion_of, findings, headline, scores_of
from core.words import ago, count
from lab.evaluate import evaluate_service
from lab.evaluate.confusion import show_confusion
from lab.evaluate.measure_test import show_measure_test
from lab.evaluate.nearest import show_nearest
from lab.evaluate.score_card import conditions, findings_column, score_card
from lab.evaluate.search import show_search
from lab.evaluate.start_form import start_form
from lab.evaluate.trade_off import show_trade_off
from lab.frame.live_fragment import live_until
from lab.frame.state import page_file
from lab.services import evaluations, runs
from lab.services.runs import RunView, trained_unets
from lab.widgets.pictures import show_pictures
from lab.widgets.run_card import progress
from lab.widgets.url_selectbox import pick, pick_model
from lab.words import escaped, plain, state_badge

REPORT = "report"  # of the URL
TICK_S = 2.0
EXAMPLES = 20


def evaluate_page() -> None:
    """Choose a run; its newest evaluation, or the way to one."""
    st.html(Path(__file__).with_name("evaluate.css"))
    st.title("Evaluate")
    views = trained_unets()
    if not views:
        st.markdown("No trained U-Net yet. Train one, then measure how good its images are.")
        st.page_link(page_file("train"), label="Train a model", icon=":material/model_training:")
        return
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with left:
        view = pick_model(views, "Run")
    reports = list_reports(view.run)
    with right:
        report = _choose_report(reports)
    _now(view, has_report=report is not None)
    for problem in unreadable_results(view.run):
        st.caption(escaped(problem, 300))
    if report is None:
        return
    _report(view, report)


def _choose_report(reports: list[Report]) -> Report | None:
    """The evaluation that the link names, else the newest."""
    if not reports:
        return None
    by_key = {each.created_at: each for each in reports}
    names = {
        key: plain(f"{count(each.num_samples)} images, step {count(each.step)} · {ago(each.created_at)}")
        for key, each in by_key.items()
    }
    return by_key[pick("Evaluation", names, REPORT)]


def _now(view: RunView, *, has_report: bool) -> None:
    """What waits or works, how the last one ended badly, and the form for another."""
    active = evaluations.active_of(view.id)
    if active is not None:
        _active(active)
        return
    last = next(iter(evaluations.evaluations_of(view.id)), None)
    if last is not None and last.state != "finished":
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(state_badge(last.state), width="content")
            reason = f": {escaped(last.status.reason, 300)}" if last.status.reason else ""
            st.markdown(f"The last evaluation did not finish{reason}", width="content")
            st.page_link(page_file("runs"), label="Open it", query_params={"run": last.id}, width="content")
    if has_report:
        with st.popover("Evaluate again", icon=":material/grading:"):
            started = start_form(view)
    else:
        st.markdown("**Not evaluated yet.**")
        with st.container(border=True, width=640):
            started = start_form(view)
    if started:
        st.rerun()


def _active(active: RunView) -> None:
    """The evaluation that waits or works, with its progress; the page is drawn again when it has ended."""

    def now() -> RunView:
        return runs.view_of(active.id)

    def draw() -> None:
        view = now()
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(state_badge(view.state), width="content")
            st.page_link(page_file("runs"), label=escaped(view.title), query_params={"run": view.id}, width="content")
        progress(view)

    with st.container(border=True):
        live_until(lambda: not now().is_active, draw, every_s=TICK_S)


def _report(view: RunView, report: Report) -> None:
    ceiling = ceiling_beside(view.run, report)
    drawn = evaluate_service.images_of(report)
    labels, guesses = (drawn.labels, drawn.guesses) if drawn else ((), ())
    confusion = confusion_of(report, labels, guesses)
    st.markdown(f"##### {escaped(headline(report), 500)}")
    st.caption(escaped(conditions(report), 600))
    if report.is_old:
        st.warning(
            "Measured the old way: compare its distances with no newer ones. Evaluate again for figures that compare.",
            icon=":material/history:",
        )
    left, right = st.columns([8, 5], gap="large")
    with left:
        score_card(scores_of(report, ceiling))
        if ceiling is None:
            st.page_link(
                page_file("latents"),
                label="Measure what its VAE alone reaches",
                icon=":material/grid_view:",
                query_params={"run": view.id, "view": "Ceiling"},
            )
    with right:
        findings_column(findings(report, confusion))
        if drawn is not None:
            st.caption(f"The first {min(EXAMPLES, len(drawn.labels))} of {count(len(drawn.labels))} images")
            show_pictures(drawn.pictures[:EXAMPLES], columns=10, width=420, alt="Generated images")
    left, right = st.columns(2, gap="large")
    with left:
        show_confusion(confusion, [score.name for score in report.per_class], drawn)
    with right:
        show_nearest(view.run, report, drawn)
    show_trade_off(view)
    show_search(view)
    show_measure_test(view.run)
