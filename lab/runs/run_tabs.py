"""The tabs of a run's page: the chosen one is in the URL, only it is drawn, and it is as live as the run."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.errors import LabError
from core.runs.kinds import kind_named
from core.words import count
from lab.frame.live_fragment import live_part
from lab.frame.notices import notify_button
from lab.frame.problems import problems_shown
from lab.frame.state import page_file
from lab.runs.branch_form import branched_line
from lab.runs.run_curves import loss_curve, metric_curves
from lab.runs.run_evaluation import evaluation_report, run_evaluation
from lab.runs.run_export import run_export
from lab.runs.run_records import run_checkpoints, run_events, run_log, run_metrics, run_settings
from lab.runs.run_report import run_report
from lab.runs.run_samples import how_samples_came, newest_samples, run_samples
from lab.runs.run_window import TAB, take_asked_tab
from lab.services import evaluations, runs
from lab.services.notes import notes_of
from lab.services.runs import RunView
from lab.widgets.choice import choose
from lab.widgets.run_card import whole_reason
from lab.words import escaped

TICK_S, SAMPLES_TICK_S, PATH_TICK_S = 3.0, 5.0, 15.0
MOST_RELATIVES = 4
Part = Callable[[RunView], None]


def run_tabs(view: RunView) -> None:
    """The row of tabs, and the one that is chosen."""
    parts = parts_of(view)
    take_asked_tab()
    with st.container(key="run-tabs"):
        chosen = choose("Part of the run", list(parts), key=TAB, label_shown=False)
    draw = parts.get(chosen) or next(iter(parts.values()))
    if draw is _overview:
        with problems_shown():
            _overview(view)
        return
    ticks = view.is_active and chosen not in STILL
    if chosen == "Evaluation" and view.run.kind.generates:
        ticks = evaluations.active_of(view.id) is not None
    _live(draw, view, TICK_S if ticks else None)


def _live(draw: Part, view: RunView, every_s: float | None) -> None:
    """A part of the page that asks for the run again every so many seconds, or only when something in it is used."""

    def part(run_id: str) -> None:
        with problems_shown():
            draw(runs.view_of(run_id))

    live_part(every_s=every_s)(part)(view.id)


STILL = ("Settings", "Evaluation", "Export")  # what a training does not change, or a form in which one types


def parts_of(view: RunView) -> dict[str, Part]:
    """Name, on the screen and in the URL → what draws it, for a run of this kind."""
    if view.run.kind.evaluates:
        return {"Report": evaluation_report, "Settings": run_settings, "Log": run_log, "Events": run_events}
    if view.run.kind.page:
        return {"Settings": run_settings, "Log": run_log, "Events": run_events}
    parts: dict[str, Part] = {
        "Overview": _overview,
        "Samples": run_samples,
        "Metrics": _metrics,
        "Settings": run_settings,
        "Log": run_log,
        "Checkpoints": run_checkpoints,
        "Events": run_events,
        "Evaluation": run_evaluation,
    }
    parts["Export"] = _export
    return parts


def _overview(view: RunView) -> None:
    branched_line(view)
    whole_reason(view)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if view.is_active:
            notify_button()
        _tags_and_relatives(view)
    notes = notes_of(view.run).notes
    if notes:
        with st.container(width=760):
            st.text(notes)
    left, right = st.columns([3, 2], gap="medium")
    for place, draw, every_s in ((left, loss_curve, TICK_S), (right, newest_samples, SAMPLES_TICK_S)):
        with place:
            _live(draw, view, every_s if view.is_active else None)
    _live(how_samples_came, view, PATH_TICK_S if view.is_active else None)


def _export(view: RunView) -> None:
    run_report(view)
    if view.run.kind.generates:
        st.divider()
        run_export(view)


def _metrics(view: RunView) -> None:
    metric_curves(view)
    run_metrics(view)


def _tags_and_relatives(view: RunView) -> None:
    """Its tags, and links to its VAE, its U-Nets, the run it branched from, and its branches."""
    tags = notes_of(view.run).tags
    if tags:
        st.markdown(" ".join(f":gray-badge[{escaped(tag, 40)}]" for tag in tags), width="content")
    info = view.run.info
    links = [(parent, f"Its {kind_named(view.run.kind.parent).title}") for parent in info.parents]
    if info.branched_from:
        links.append((info.branched_from, f"Branched at step {count(info.branched_step)} from"))
    family = [other for other in runs.list_views() if other.id != view.id]
    made_of_it = [other for other in family if view.id in other.run.info.parents]
    branches = [other for other in family if other.run.info.branched_from == view.id]
    links += [(other.id, f"Its {other.kind}") for other in made_of_it[:MOST_RELATIVES]]
    links += [
        (other.id, f"Branch at step {count(other.run.info.branched_step)}") for other in branches[:MOST_RELATIVES]
    ]
    for other_id, word in links:
        try:
            title = runs.view_of(other_id).title
        except LabError:
            st.caption(f"{word}: {escaped(other_id)} (deleted)", width="content")
            continue
        icon = ":material/call_split:" if word.startswith("Branch") else ":material/link:"
        label = f"{word}: {escaped(title, 40)}"
        st.page_link(page_file("runs"), label=label, icon=icon, query_params={"run": other_id}, width="content")
    more = max(0, len(made_of_it) - MOST_RELATIVES) + max(0, len(branches) - MOST_RELATIVES)
    if more:
        st.caption(f"and {count(more)} more", width="content")
