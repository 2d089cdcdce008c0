"""Can these measures be trusted? Known faults in real images, and which measure sees them."""

from __future__ import annotations

import html

import streamlit as st

from core.evaluation.measure_test_results import FaultTest, MeasureTest, Seen, in_words
from core.runs.run import Run
from core.words import ago, count
from lab.evaluate import evaluate_service
from lab.frame.live_fragment import live_until
from lab.frame.task_progress import bar
from lab.services import background
from lab.words import escaped, sentence


def show_measure_test(run: Run) -> None:
    """The table, how far the test is, or the button that begins it."""
    st.subheader("Can these measures be trusted?")
    work = evaluate_service.measure_test(run)
    if work is not None and not work.is_done:
        live_until(lambda: work.is_done, lambda: bar(work, "Testing the measures"), every_s=1.0)
        return
    if work is not None:
        background.forget(work)
        if work.problem is not None:
            st.error(sentence(work.problem), icon=":material/error:")
    found = evaluate_service.kept_measure_test(run)
    if found is None and work is not None and isinstance(work.result, MeasureTest):
        found = work.result  # the cache could not be written
    if found is not None:
        _table(found)
    else:
        st.caption("Puts known faults into real images of this dataset and shows which measure sees which.")
    if not evaluate_service.can_search(run):
        st.caption("The images of this dataset are not on this machine.")
    elif st.button(
        "Test the measures" if found is None else "Test again",
        icon=":material/fact_check:",
        help="Takes a minute or two on a CPU, once per dataset. It continues when you leave this page.",
    ):
        evaluate_service.test_measures(run)
        st.rerun()


def _table(found: MeasureTest) -> None:
    st.markdown(escaped(in_words(found), 400))
    titles = [each.title for each in found.faults[0].seen] if found.faults else []
    heads = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in titles)
    rows = "".join(_row(fault, titles) for fault in found.faults)
    head = f'<thead><tr><th scope="col">Fault</th>{heads}</tr></thead>'
    table = f'<table class="lab-measures">{head}<tbody>{rows}</tbody></table>'
    st.html(f'<div class="lab-wide" tabindex="0" role="group" aria-label="Measures by fault">{table}</div>')
    st.caption(
        f"● worse than real images, by the rule of the score card. {count(found.num_images)} held-out images of "
        f"{escaped(found.data_set)} per row, judge {found.judge_hash[:12]}, {ago(found.created_at)}."
    )


def _row(fault: FaultTest, titles: list[str]) -> str:
    known = {each.title: each for each in fault.seen}
    cells = "".join(_cell(known.get(title)) for title in titles)
    return f'<tr><th scope="row">{html.escape(fault.name)}</th>{cells}</tr>'


def _cell(seen: Seen | None) -> str:
    if seen is None:
        return "<td></td>"
    kind, words = ("seen", "● sees it") if seen.sees else ("unseen", "–")
    return f'<td><span class="{kind}">{words}</span><small>{seen.value:.3g}</small></td>'
