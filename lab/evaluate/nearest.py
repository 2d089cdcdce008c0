"""The generated images that lie nearest to a training image, beside it: has the model memorized it?"""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.evaluation.drawn import Drawn
from core.evaluation.nearest_results import Nearest
from core.evaluation.report import Report
from core.runs.run import Run
from core.words import count
from lab.evaluate import evaluate_service
from lab.evaluate.evaluate_service import MOST_SEARCHED
from lab.frame.live_fragment import live_until
from lab.frame.task_progress import bar
from lab.widgets.strip import strip_html
from lab.words import sentence

SHOWN = 10
SUSPICIOUS = 0.01  # share of held-out images of the class that lie nearer: below it an image may be a copy


def show_nearest(run: Run, report: Report, drawn: Drawn | None) -> None:
    """What was found, how far the search is, or the button that begins it."""
    st.subheader("Nearest training images")
    if drawn is None:
        st.caption("Its images were not kept, or were cleaned up. Evaluate again to compare them.")
        return
    work = evaluate_service.searched(report)
    if work is not None and work.is_done:
        if work.problem is not None:
            st.error(sentence(work.problem), icon=":material/error:")
        elif isinstance(work.result, Nearest):
            _pairs(work.result, drawn)
            return
    if work is not None and not work.is_done:
        live_until(lambda: work.is_done, lambda: bar(work, "Comparing with the training images"), every_s=1.0)
        return
    if not evaluate_service.can_search(run):
        st.caption("The training images of this model are not on this machine.")
        return
    number = min(MOST_SEARCHED, len(drawn.labels))
    if st.button(
        f"Compare {count(number)} images with the training images",
        icon=":material/search:",
        help="Looks for the nearest training image of each, pixel by pixel. Takes seconds to a minute.",
    ):
        evaluate_service.search(run, report, drawn)
        st.rerun()


def _pairs(found: Nearest, drawn: Drawn) -> None:
    places = evaluate_service.most_suspicious(found, SHOWN)
    rows = [("Generated", list(drawn.pictures[places])), ("Nearest", list(found.pictures[places]))]
    heads = [f"{found.distances[place]:.0f}" for place in places]
    st.html(f'<div class="lab-wide" tabindex="0" role="group" aria-label="Nearest">{strip_html(rows, heads)}</div>')
    known = found.closer[np.isfinite(found.closer)]
    share = float((known < SUSPICIOUS).mean()) if len(known) else 0.0
    among = f" One in {count(found.every)} training images was compared." if found.every > 1 else ""
    st.caption(
        f"The {len(places)} of {count(len(found.distances))} images that lie nearest for their class; distance in gray "
        f"levels. {100 * share:.1f} % lie nearer to a training image than any of 50 held-out images of their class "
        f"does.{among}"
    )
