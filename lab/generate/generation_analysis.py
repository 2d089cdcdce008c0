"""What is found out about a drawing once it stands there: waited for without holding up the page, and told in words."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import streamlit as st

from core.model_folders.sources import ModelSource
from core.sampling.drawing import Drawing
from core.words import count
from lab.frame.live_fragment import live_until
from lab.generate import generation_analysis_service
from lab.generate.generation_analysis_service import Analysis
from lab.generate.generation_progress import ME
from lab.services import judges
from lab.services.background import Work
from lab.words import escaped, sentence

LOOK_AGAIN_S = 0.5
WORDS_AFTER_S = 2.0


def analyze(drawing: Drawing, facts: ModelSource, *, key: str) -> Analysis:
    """What is known of the drawing at this moment. key: a place on the page; what it looked at before is left."""
    me = st.session_state.setdefault(ME, uuid.uuid4().hex)
    analysis = generation_analysis_service.analysis_of(drawing, facts, watcher=me)
    before = st.session_state.get(f"looks-{key}", ())
    generation_analysis_service.leave(tuple(name for name in before if name not in analysis.works), me)
    st.session_state[f"looks-{key}"] = analysis.works
    return analysis


def show_analysis(drawing: Drawing, facts: ModelSource, analysis: Analysis, *, key: str) -> None:
    """Who judged, what is still looked at, what is missing and how to get it."""
    for problem in analysis.problems:
        st.caption(f":material/info: {escaped(problem, 300)}")
    if analysis.waiting:
        waiting = analysis.waiting
        live_until(lambda: any(work.is_done for work in waiting), lambda: _waits(waiting), every_s=LOOK_AGAIN_S)
    told: list[str] = []
    how: list[str] = []
    if analysis.odds is not None:
        total = count(analysis.odds.heldout_count)
        told.append(f"The judge of {_data_set(facts)} is right on {analysis.odds.accuracy:.1%} of {total} test images.")
        how.append(
            "The judge classifies the predicted image. An image is decided from the step on where its final class "
            "keeps more than half of the probability."
        )
    if analysis.nearest is not None:
        among = f" among one in {analysis.nearest.every} of them" if analysis.nearest.every > 1 else ""
        how.append(f"Click an image to see the nearest training image by pixel distance{among}.")
    elif analysis.has_judge and not judges.pictures_are_here(facts):
        told.append(f"{_why_not(facts)}, so the nearest training images are unknown.")
    if told or how:
        st.caption(" ".join(told or ["How to read this"]), help=" ".join(how) or None)
    if not analysis.has_judge and key == "scrubber":
        _no_judge(facts, analysis)


def _no_judge(facts: ModelSource, analysis: Analysis) -> None:
    """The training of the judge that runs, or how to start it."""
    work = judges.training(facts)
    if work is not None and not work.is_done:
        live_until(lambda: work.is_done, lambda: _trains(work), every_s=LOOK_AGAIN_S)
        return
    if work is not None:
        judges.forget_training(facts)
        if work.problem is not None and not work.is_cancelled:
            st.error(sentence(work.problem), icon=":material/error:")
    if not judges.pictures_are_here(facts):
        st.caption(f"{_why_not(facts)}, so there is no judge and no nearest training image.")
    elif not analysis.problems:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(
                f"No judge for {_data_set(facts)} yet. A judge shows the step at which each image settles on its class."
            )
            if st.button(
                "Train the judge",
                key="train-judge",
                icon=":material/gavel:",
                help="Trains a small classifier once per dataset (about a minute).",
            ):
                judges.begin_training(facts)
                st.rerun()


def _waits(works: Sequence[Work]) -> None:
    """Words where it takes long."""
    if max(time.monotonic() - work.started for work in works) > WORDS_AFTER_S:
        st.caption("Analyzing these images.")


def _trains(work: Work) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(work.fraction, text=f"{escaped(work.stage)}; you can leave this page")
        st.button("Cancel", key="cancel-judge", icon=":material/close:", on_click=work.cancel)


def _data_set(facts: ModelSource) -> str:
    return escaped((facts.card.data_title if facts.card else "") or facts.settings.data.name, 60)


def _why_not(facts: ModelSource) -> str:
    if not facts.fingerprint:
        return "This model does not record its dataset"
    return f"{_data_set(facts)} is not on this machine"
