"""Exports of runs that a screen makes and sends away: in the background, one at a time for each run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from core.compute.questions import EXPORT_RUN
from core.config.schema import Settings
from core.diffusion.sampler_table import EXPORTED_SAMPLERS
from core.model_folders import exports
from core.model_folders.exports import ExportWish
from core.model_folders.hub import Pushed
from core.model_folders.model_facts import ModelFolderInfo, folder_name_like
from core.runs.run import Run
from lab.services import background
from lab.services.background import Tell, Work
from lab.services.computing import asked
from lab.services.settings import current_site


def export_of(run_id: str) -> str:
    """What the background work is that exports this run."""
    return f"export of {run_id}"


def push_of(run_id: str) -> str:
    """What the background work is that pushes an export of this run."""
    return f"push of {run_id}"


def begin_export(
    run: Run,
    name: str,
    *,
    by: str,
    step: int,
    weights: Literal["ema", "raw"],
    licence: str,
    sampler: str,
    with_judge: bool,
) -> Work:
    """Start it; the outcome is a ModelFolderInfo. It can be cancelled. Raises UsageError while another one is made."""

    wish = ExportWish(name=name, step=step, weights=weights, licence=licence, sampler=sampler, with_judge=with_judge)
    task = asked(EXPORT_RUN, run.id, wish, by, current_site())
    return background.begin_alone(export_of(run.id), by, task, busy=f"{run.id}: another export is being made")


def begin_push(run: Run, info: ModelFolderInfo, repo_id: str, *, private: bool, by: str) -> Work:
    """Start it; the outcome is a Pushed. It cannot be cancelled. Raises UsageError while another one is sent."""

    def task(tell: Tell, cancelled: Callable[[], bool]) -> Pushed:
        tell(f"sending {info.name}", 0.3)
        return exports.push_export(run, info, repo_id, private=private, by=by)

    return background.begin_alone(push_of(run.id), by, task, busy=f"{run.id}: another export is being sent")


def schedulers_for(settings: Settings) -> list[str]:
    """Samplers that plain diffusers drives rightly with a model of these settings."""
    offered, _ = settings.diffusion.offered_samplers(settings.sampling.num_inference_steps)
    return [name for name in offered if name in EXPORTED_SAMPLERS]


def suggested_name(title: str, step: int, weights: str, taken: set[str]) -> str:
    """A folder's name that is free: 'my-run-step-4000', with -raw for last weights and a number where it is taken."""
    base = f"{folder_name_like(title)[:36] or 'model'}-step-{step}{'' if weights == 'ema' else '-raw'}"
    return next(name for name in (base, *(f"{base}-{n}" for n in range(2, len(taken) + 3))) if name not in taken)
