"""The self-test: every sampler judged with a network that is a formula, so that only the solver can be wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from core.config.compatibility import SCHEDULES
from core.config.schema import DiffusionSettings
from core.diffusion.solver_curve import SolverCurve
from lab.schedulers import self_test_service as service
from lab.schedulers.self_test_chart import error_figure, histogram_figure
from lab.schedulers.self_test_service import STEP_COUNTS
from lab.widgets.chart import show_chart
from lab.widgets.choice import choose
from lab.words import escaped

TYPES = ("v_prediction", "epsilon", "sample")
KINDS = {"pathwise": "path", "wasserstein": "distribution"}


def self_test() -> None:
    """Error curves, a table, what one sampler makes, and what is refused."""
    st.markdown(
        "The data are three Gaussians in one dimension, for which the perfect network is a formula. What is left is "
        "the error of the solver: no training, no luck."
    )
    cells = st.columns([2, 2, 3], vertical_alignment="bottom")
    default = DiffusionSettings().schedule
    schedule = cells[0].selectbox(
        "Schedule", SCHEDULES, index=SCHEDULES.index(default), key="test-schedule", bind="query-params"
    )
    types = ("flow",) if schedule == "flow" else TYPES
    prediction = cells[1].selectbox("The network predicts", types, key=f"test-type-{schedule == 'flow'}")
    kind = choose(
        "Error of",
        KINDS,
        key="test-error",
        cell=cells[2],
        in_url=False,
        help="path: mean distance to the exact result from the same noise; stochastic samplers have none. "
        "distribution: Wasserstein-1 distance between the samples and the true distribution.",
    )
    names, refused = service.offered(schedule, prediction, STEP_COUNTS[0])
    curves = _curves(names, schedule, prediction)
    chosen = {
        name: (curve.evaluations, curve.wasserstein if kind == "wasserstein" else curve.pathwise)
        for name, curve in curves.items()
        if kind == "wasserstein" or curve.pathwise is not None
    }
    show_chart(
        error_figure(
            {name: (x, y) for name, (x, y) in chosen.items() if y is not None},
            title=f"Error of the {KINDS[kind]}, lower is better",
            theme=st.context.theme.type,
        ),
        key="test-errors",
    )
    st.caption(
        "A line as steep as a guide converges with that order. A line that bends up, or stays flat above its "
        "floor, is a solver to avoid."
    )
    st.dataframe(_table(curves), hide_index=True, width="stretch")
    st.caption(
        "Distribution error by steps of the sampler. Stochastic samplers end at the floor of "
        f"{service.RANDOM_PATHS:,} samples."
    )
    _made(names, schedule, prediction)
    if refused:
        with st.expander(f"Not possible with this schedule: {', '.join(refused)}"):
            for name, why in refused.items():
                st.markdown(f"**{escaped(name)}** {escaped(why.split(': ', 1)[-1], 300)}")


def _curves(names: list[str], schedule: str, prediction: str) -> dict[str, SolverCurve]:
    """All samplers' curves; each is kept, so only the first look at a schedule takes seconds."""
    bar = st.empty()
    found = {}
    for place, name in enumerate(names):
        bar.progress(place / len(names), text=f"Solving with {name}, {place + 1} of {len(names)}")
        found[name] = service.solver_curve(name, schedule, prediction)
    bar.empty()
    return found


def _table(curves: dict[str, SolverCurve]) -> pd.DataFrame:
    """A row a sampler: its distribution error at each number of steps it takes, or that it is refused."""
    rows = []
    for name, curve in curves.items():
        found = dict(zip(curve.steps, curve.wasserstein, strict=True))
        errors = {f"{n} steps": _figure(found[n]) if n in found else "refused" for n in STEP_COUNTS}
        rows.append({"sampler": name, **errors, "floor": _figure(curve.floor)})
    return pd.DataFrame(rows)


def _figure(value: float) -> str:
    return f"{value:.4f}" if np.isfinite(value) else "diverged"


def _made(names: list[str], schedule: str, prediction: str) -> None:
    """What one sampler makes of noise, beside the truth."""
    cells = st.columns(2)
    name = cells[0].selectbox("Sampler", names, index=names.index("unipc"), key="test-sampler", bind="query-params")
    allowed = [n for n in STEP_COUNTS if name in service.offered(schedule, prediction, n)[0]]
    steps = cells[1].select_slider("Steps", allowed, value=allowed[1], key=f"test-steps-{name}")
    density = service.histogram(name, schedule, prediction, int(steps))
    title = f"What {name} makes of noise in {steps} steps"
    show_chart(histogram_figure(density, title=title, theme=st.context.theme.type), key="test-histogram")
    st.caption(
        "Bars should fill the line: bars that stand where the line is low are samples that the data do not have."
    )
