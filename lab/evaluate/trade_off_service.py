"""The comparisons behind the trade-off of guidance and steps: which there are, what they suggest, and a new one."""

from __future__ import annotations

import streamlit as st

from core.comparison import comparison_results as results
from core.comparison.comparison_results import Comparison
from core.comparison.grid import parse_axis
from core.comparison.trade_off import HalvedCell, is_trade_off
from core.compute.questions import HALVED_CELLS
from core.errors import LabError
from core.jobs import comparison_job
from core.jobs.measuring import settings_for
from core.reading import Stamp, stamp_of
from core.runs.run import Run
from lab.services import background, run_actions
from lab.services.background import Work
from lab.services.computing import asked
from lab.services.runs import RunView, list_views, open_store
from lab.services.settings import current_site

GUIDANCES = (1.0, 1.25, 1.5, 2.0, 3.0)
IMAGES = 600  # per cell of a new comparison
MOST_LOOKED_AT = 10


def newest(run: Run) -> Comparison | None:
    """The newest comparison of the run with guidance as an axis that has a cell; None where there is none."""
    for name in results.list_comparisons(run)[:MOST_LOOKED_AT]:
        folder = results.results_folder(run, name).folder
        stamps = tuple(stamp_of(folder / part) for part in ("request.json", "facts.json", "cells"))
        try:
            found = _read(str(folder), stamps, run, name)
        except LabError:
            continue
        if is_trade_off(found) and found.drawn:
            return found
    return None


@st.cache_resource(max_entries=8, show_spinner=False)
def _read(folder: str, stamps: tuple[Stamp, ...], _run: Run, name: str) -> Comparison:
    return results.read_comparison(_run, name)


def active(run: Run) -> RunView | None:
    """A comparison that waits or works on the run now."""
    views = list_views(comparisons=True)
    return next(
        (
            view
            for view in views
            if view.run.info.kind == comparison_job.KIND and run.id in view.run.info.parents and view.is_active
        ),
        None,
    )


def start(run: Run, *, owner: str) -> str:
    """Queue a comparison of guidance and steps around the run's own sampling, one however often it is pressed; its id.

    Raises LabError, and nothing was created then.
    """
    sampling = run.settings.sampling
    guidances = sorted({*GUIDANCES, sampling.guidance_scale})
    steps = sorted({max(1, sampling.num_inference_steps // 2), sampling.num_inference_steps})
    settings = settings_for(comparison_job.KIND, run.settings)
    request = comparison_job.plan_comparison(
        run,
        parse_axis(f"num_inference_steps={','.join(map(str, steps))}"),
        parse_axis(f"guidance_scale={','.join(f'{each:g}' for each in guidances)}"),
        settings=settings,
        num_samples=IMAGES,
        with_reference=False,
    )
    token = f"trade-off-{run.id}-{request.base.step}-{len(results.list_comparisons(run))}"
    made = comparison_job.start_comparison(open_store(), run, request, settings=settings, owner=owner, token=token)
    run_actions.look_again()
    return made.id


def halve(run: Run, comparison: Comparison) -> Work:
    """Measure both halves of every cell in the background."""
    return background.begin(_key(comparison), asked(HALVED_CELLS, run.id, comparison.id, current_site()))


def halved(comparison: Comparison) -> Work | None:
    """That work, running or done."""
    return background.find(_key(comparison))


def cells_in(work: Work) -> tuple[HalvedCell, ...]:
    """What it found."""
    return tuple(work.result or ())


def _key(comparison: Comparison) -> str:
    return f"evaluate-halves-{comparison.id}-{len(comparison.results)}"
