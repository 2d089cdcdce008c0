"""The form of a new comparison: two axes, how many pictures, and what that will cost before it is started."""

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
from lab.words import escaped, sentence

NAMES = {
    "sampler": "Sampler",
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance",
    "seed": "Seed",
    "weights": "Weights",
    "step": "Checkpoint",
}
PROPOSALS = {
    "sampler": "all",
    "num_inference_steps": "5,10,20,50",
    "guidance_scale": "1.0-3.0(0.5)",
    "seed": "0-3",
    "weights": "all",
    "step": "all",
}
HELP = {
    "sampler": "Names, or **all** that fit this model.",
    "num_inference_steps": "As 5,10,20 or 5-50(5): from 5 to 50 in strides of 5.",
    "guidance_scale": "As 1,1.5,3 or 1.0-3.0(0.5). 1 is no guidance, and half the cost.",
    "seed": "As 0,1,2 or 0-3. Another seed is other noise.",
    "weights": "ema: averaged; raw: the last ones; or all.",
    "step": "Steps of checkpoints that are kept, or all.",
}


def comparison_form(run: Run) -> str:
    """Fields, cost and button; the id of what was started, or ''."""
    rows = _axis("Rows", "rows", 0)
    columns = _axis("Columns", "columns", 1)
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    default = min(max(run.settings.evaluation.num_samples, MIN_SAMPLES), MAX_SAMPLES)
    samples = int(
        left.number_input(
            "Pictures a cell",
            MIN_SAMPLES,
            MAX_SAMPLES,
            default,
            step=100,
            key=f"comparison-samples-{run.id}",
            help="More pictures tell smaller differences apart; a few hundred show only large ones.",
        )
    )
    with_reference = right.checkbox(
        "Compare with the slow reference",
        True,
        key="comparison-reference",
        help="As many pictures with every training timestep: ancestral sampling, or Euler for flow matching. It is the "
        "dearest part, and tells which cells are as good.",
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
        left.selectbox(title, SETTINGS, index=place, format_func=lambda key: NAMES[key], key=f"comparison-{name}")
    )
    values = right.text_input(
        "Values", PROPOSALS[setting], key=f"comparison-{name}-{setting}", max_chars=2000, help=HELP[setting]
    )
    return setting, values or ""


def _cost(planned: Plan) -> None:
    """What it draws and how long that takes, as far as it is known."""
    cost = planned.cost
    cells = f"{count(cost.cells)} cell{'s' if cost.cells > 1 else ''}"
    if cost.refused:
        cells += f" ({count(cost.refused)} refused, with the reason in the result)"
    words = [cells, f"{count(cost.evaluations)} network evaluations"]
    if cost.reference_evaluations:
        words[-1] += f", {cost.reference_evaluations / cost.evaluations:.0%} of them for the reference"
    if planned.seconds is not None:
        words.append(f"about {duration(planned.seconds)}, at the speed of the last comparison")
    else:
        words.append("how long that takes is known after the first comparison")
    st.caption(escaped(" · ".join(words), 400))
