"""The form that starts an evaluation: how many images, what that takes, and one button."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from core.config.load import get_value
from core.config.schema import field_rows
from core.errors import LabError
from core.words import count, duration, guidance_in_words
from lab.frame.start_button import press_token, start_label
from lab.frame.state import who
from lab.services import evaluations, runs
from lab.services.evaluations import Plan
from lab.services.runs import RunView
from lab.widgets.config_form import setting_widget
from lab.words import escaped, sentence

SETTING = "evaluation.num_samples"


def start_form(view: RunView, *, on_cancel: Callable[[], None] | None = None) -> bool:
    """Draw it for a run that has a checkpoint; True when it has queued an evaluation."""
    st.markdown(
        f"Generates images with **{escaped(view.title)}** and measures them: right class, likeness to real images, "
        "variety and copies."
    )
    before = get_value(view.run.settings, SETTING)
    info = dict(field_rows())[SETTING]
    images = setting_widget(SETTING, info, before, key=f"evaluate-{view.id}/images", label="Images to generate")
    try:
        planned = evaluations.plan(view.run, images)
        label, why = start_label(planned.settings, "evaluation")
    except LabError as error:
        st.error(sentence(error), icon=":material/error:")
        press_token(False)
        return False
    st.markdown(_what_it_takes(planned))
    st.caption(_conditions(view, planned))
    if why:
        st.caption(escaped(why, 300))
    with st.container(horizontal=True, horizontal_alignment="right"):
        if on_cancel is not None and st.button("Cancel", key="evaluate-no"):
            on_cancel()
        pressed = st.button(f"{label} evaluation", type="primary", icon=":material/grading:", key="evaluate-yes")
    token = press_token(pressed)
    if not pressed:
        return False
    try:
        evaluations.start(view.run, planned, owner=who(), token=token)
    except LabError as error:
        st.error(sentence(error), icon=":material/error:")
        return False
    return True


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
