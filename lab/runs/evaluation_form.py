"""The window that starts an evaluation: how many images, what that takes, and one button."""

from __future__ import annotations

import streamlit as st

from core.config.load import get_value
from core.config.schema import field_rows
from core.errors import LabError
from core.words import count, duration, guidance_in_words
from lab.frame.live_fragment import window
from lab.frame.start_button import press_token, start_label
from lab.frame.state import who
from lab.runs.run_window import close_window, open_tab, open_window
from lab.services import evaluations, runs
from lab.services.evaluations import Plan
from lab.services.runs import RunView
from lab.widgets.config_form import setting_widget
from lab.words import escaped, sentence

SETTING = "evaluation.num_samples"


def evaluate_button(view: RunView, *, label: str = "Evaluate", key: str) -> None:
    """Opens the window, for a run that has a checkpoint to evaluate. key: once per place on the page."""
    if st.button(label, icon=":material/grading:", key=f"{key}-{view.id}"):
        open_window("evaluate", view.id)


def evaluation_window(run_id: str) -> None:
    """The form, in a window."""
    window("Evaluate", _form, width="medium", on_dismiss=close_window)(run_id)


def _form(run_id: str) -> None:
    view = runs.view_of(run_id)
    st.markdown(
        f"Generates images with **{escaped(view.title)}** and measures them: right class, likeness to real images, "
        "variety and copies."
    )
    before = get_value(view.run.settings, SETTING)
    info = dict(field_rows())[SETTING]
    images = setting_widget(SETTING, info, before, key=f"evaluate-{run_id}/images", label="Images to generate")
    try:
        planned = evaluations.plan(view.run, images)
        label, why = start_label(planned.settings, "evaluation")
    except LabError as error:
        st.error(sentence(error), icon=":material/error:")
        press_token(False)
        return
    st.markdown(_what_it_takes(planned))
    st.caption(_conditions(view, planned))
    if why:
        st.caption(escaped(why, 300))
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Cancel", key="evaluate-no"):
            close_window()
            st.rerun()
        pressed = st.button(
            f"{label} evaluation",
            type="primary",
            icon=":material/grading:",
            key="evaluate-yes",
        )
    token = press_token(pressed)
    if not pressed:
        return
    try:
        evaluations.start(view.run, planned, owner=who(), token=token)
    except LabError as error:
        st.error(sentence(error), icon=":material/error:")
        return
    close_window()
    open_tab("Evaluation")
    st.rerun()


def _what_it_takes(planned: Plan) -> str:
    if planned.seconds is None:
        words = "How long it takes is known after the first evaluation"
    else:
        source = "at the speed of its last evaluation" if planned.is_measured else "estimated from its training speed"
        words = f"Takes about **{duration(planned.seconds)}**, {source}"
    more = "; training the judge of this dataset comes on top, once" if planned.trains_judge else ""
    return f"{words}{more}."


def _conditions(view: RunView, planned: Plan) -> str:
    sampling, saved = planned.settings.sampling, runs.checkpoints(view.run)
    guidance = guidance_in_words(sampling.guidance_scale, sampling.guidance_rescale, sampling.guidance_interval)
    return escaped(
        f"Newest checkpoint, now step {count(saved[-1].step)}; sampler {sampling.sampler}, "
        f"{count(sampling.num_inference_steps)} steps, {guidance}, seed {sampling.seed}.",
        300,
    )
