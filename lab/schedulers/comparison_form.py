"""The form of a new comparison: two axes, how many images, and what that will cost before it is started."""

from __future__ import annotations

import streamlit as st

from core.comparison.grid import MAX_SAMPLES, MIN_SAMPLES, SETTINGS
from core.errors import LabError
from core.runs.run import Run
from core.words import count, duration
from lab.frame.start_button import press_token, start_label
from lab.frame.state import who
from lab.schedulers import comparison_service
from lab.schedulers.comparison_service import Plan
from lab.words import SETTING_NAMES, escaped, sentence

SAMPLES = 100  # per cell: shows large differences in seconds
LONG_S = 60.0  # from here on the form says how to make it cheaper
PROPOSALS = {
    "sampler": "all",
    "num_inference_steps": "5,10,20",
    "guidance_scale": "1.0-3.0(0.5)",
    "seed": "0-3",
    "weights": "all",
    "step": "all",
}
HELP = {
    "sampler": "Names, or **all** that fit this model.",
    "num_inference_steps": "For example 5,10,20 or 5-50(5): from 5 to 50 in strides of 5.",
    "guidance_scale": "For example 1,1.5,3 or 1.0-3.0(0.5). 1 turns guidance off and halves the cost.",
    "seed": "For example 0,1,2 or 0-3. Each seed gives different noise.",
    "weights": "ema (averaged weights), raw (weights of the last step), or all.",
    "step": "Steps of saved checkpoints, or all.",
}


def comparison_form(run: Run) -> str:
    """Fields, cost and button; the id of what was started, or ''."""
    rows = _axis("Rows", "rows", 0)
    columns = _axis("Columns", "columns", 1)
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    samples = int(
        left.number_input(
            "Images per cell",
            MIN_SAMPLES,
            MAX_SAMPLES,
            SAMPLES,
            step=100,
            key=f"comparison-samples-{run.id}",
            help="100 images show large differences. Use 1,000 or more to tell close settings apart.",
        )
    )
    with_reference = right.checkbox(
        "Compare with the 1,000-step reference",
        False,
        key="comparison-reference",
        help="Generates as many images with every training timestep: ancestral sampling, or Euler for flow matching. "
        "It shows which cells match the reference, and it is the slowest part.",
    )
    try:
        planned = comparison_service.plan(run, rows, columns, num_samples=samples, with_reference=with_reference)
    except LabError as error:
        st.error(sentence(error), icon=":material/error:")
        press_token(False)
        return ""
    _cost(planned)
    label, why = start_label(planned.settings, "comparison")
    pressed = st.button(f"{label} comparison", type="primary", icon=":material/play_arrow:", key="start-comparison")
    if why:
        st.caption(escaped(why, 300))
    token = press_token(pressed)
    if not pressed:
        return ""
    try:
        return comparison_service.start(run, planned, owner=who(), token=token)
    except LabError as error:
        st.error(sentence(error), icon=":material/error:")
        return ""


def _axis(title: str, name: str, place: int) -> tuple[str, str]:
    """(setting, values as typed); another setting proposes its own values."""
    left, right = st.columns([1, 2])
    setting = str(
        left.selectbox(title, SETTINGS, index=place, format_func=SETTING_NAMES.__getitem__, key=f"comparison-{name}")
    )
    values = right.text_input(
        "Values", PROPOSALS[setting], key=f"comparison-{name}-{setting}", max_chars=2000, help=HELP[setting]
    )
    return setting, values or ""


def _cost(planned: Plan) -> None:
    """What it generates and how long that takes, as far as it is known; and how to make a long one cheaper."""
    cost = planned.cost
    cells = f"{count(cost.cells)} cell{'s' if cost.cells > 1 else ''}"
    if cost.refused:
        cells += f" ({count(cost.refused)} refused; the result gives the reason)"
    words = [cells, f"{count(cost.evaluations)} network evaluations"]
    if cost.reference_evaluations:
        words[-1] += f", {cost.reference_evaluations / cost.evaluations:.0%} of them for the reference"
    if planned.seconds is None:
        words.append("the time is known after the first comparison")
    else:
        source = "at the speed of the last comparison" if planned.is_measured else "estimated from the training speed"
        words.append(f"about {duration(planned.seconds)} {source}")
    st.markdown(escaped(" · ".join(words), 400))
    if planned.seconds is not None and planned.seconds > LONG_S:
        cheaper = "leave out the reference" if cost.reference_evaluations else "use fewer images or values"
        st.caption(f"To finish sooner, {cheaper}.")
