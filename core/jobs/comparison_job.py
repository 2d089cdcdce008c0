"""A sampler comparison as a job: how it is put into the queue, and what the worker does with it.

It is a run of its own, with request.json in its folder, so that it waits, stops and resumes as trainings do. What it
finds goes into the folder of the U-Net run that it is about, and stays there when the job is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.comparison.comparison_results import read_request, request_bytes, results_folder
from core.comparison.grid import (
    Axis,
    ComparisonRequest,
    Value,
    allowed_samplers,
    cell_settings,
    cells_of,
    check_request,
    problem_of,
    quality_reference,
)
from core.config.load import settings_from
from core.config.schema import Settings
from core.errors import CheckpointError, UsageError
from core.jobs.engines.protocol import Engine
from core.jobs.measuring import Stopped, open_images, start_measuring
from core.runs.listing import list_checkpoints
from core.runs.run import Run, RunState
from core.runs.store import MAX_NAME_LENGTH, RunStore

if TYPE_CHECKING:
    from core.training.session import Outcome

KIND = "comparison"
AXIS_WORDS = {
    "sampler": "samplers",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "seed": "seeds",
    "weights": "weights",
    "step": "checkpoints",
}


def plan_comparison(
    unet_run: Run,
    rows: Axis,
    columns: Axis,
    *,
    settings: Settings | None = None,
    num_samples: int | None = None,
    with_reference: bool = True,
) -> ComparisonRequest:
    """The request for comparing on a run, with its newest checkpoint; what no axis changes is as its settings say.

    settings: the run's own, with other `sampling`, `evaluation` or `machine`. Raises UsageError for a VAE run, a grid
    or a checkpoint that does not work, CheckpointError when nothing was saved yet.
    """
    unet_run.check_generates("samplers are compared on a U-Net run")
    steps = known_steps(unet_run)
    if not steps:
        raise CheckpointError(f"{unet_run.id}: has no checkpoint yet", "let it train until its first save")
    settings = settings or unet_run.settings
    sampling, evaluation = settings.sampling, settings.evaluation
    request = ComparisonRequest(
        run_id=unet_run.id,
        rows=rows,
        columns=columns,
        base=cell_settings(sampling, step=steps[-1]),
        num_samples=evaluation.num_samples if num_samples is None else num_samples,
        with_reference=with_reference,
        batch_size=sampling.batch_size,
        recall_neighbours=evaluation.recall_neighbours,
        judge_epochs=evaluation.judge_epochs,
        labels=evaluation.labels,
    )
    check_request(request)
    cells = cells_of(request, settings.diffusion)
    for step in sorted({cell.settings.step for cell in cells} - set(steps)):
        known = ", ".join(f"{each:,}" for each in steps)
        raise UsageError(f"step: {unet_run.id} has no checkpoint of step {step:,}", f"there is {known}")
    if all(cell.problem for cell in cells):
        raise UsageError(f"every cell of the grid is refused; the first: {cells[0].problem}")
    problem = problem_of(quality_reference(request, settings.diffusion), settings.diffusion)
    if with_reference and problem:
        raise UsageError(f"the reference cannot be generated: {problem}", "compare without it")
    return request


def known_steps(run: Run) -> list[int]:
    """Steps of the checkpoints that are kept, oldest first."""
    return [info.step for info in list_checkpoints(run)]


def choices_of(run: Run) -> Mapping[str, Sequence[Value]]:
    """What 'all' means for a run: the samplers that fit it, the checkpoints that are kept."""
    return {"sampler": allowed_samplers(run.settings.diffusion), "step": known_steps(run)}


def start_comparison(
    store: RunStore,
    unet_run: Run,
    request: ComparisonRequest,
    *,
    settings: Settings | None = None,
    name: str = "",
    owner: str = "",
    priority: int = 0,
    asked: Mapping[str, Any] | None = None,
    token: str = "",
    engine: Engine | None = None,
) -> Run:
    """Queue the comparison; see `start_measuring`. Raises LabError; then nothing was created."""
    settings = settings or unet_run.settings
    values = settings.model_dump(mode="json")
    values["sampling"]["batch_size"] = request.batch_size
    return start_measuring(
        store,
        unet_run,
        KIND,
        settings_from(values),
        steps_total=len(cells_of(request, settings.diffusion)),
        name=name or title_of(request, unet_run),
        owner=owner,
        priority=priority,
        request=asked,
        token=token,
        engine=engine,
        more_files={"request.json": request_bytes(request)},
    )


def title_of(request: ComparisonRequest, unet_run: Run) -> str:
    """'samplers × steps on First light'."""
    words = f"{AXIS_WORDS[request.rows.setting]} × {AXIS_WORDS[request.columns.setting]}"
    return f"{words} on {unet_run.title}"[:MAX_NAME_LENGTH]


def work_on(run: Run, *, data_dir: Path, cache_dir: Path, store_root: Path, should_stop: Callable[[], bool]) -> Outcome:
    """Compare until every cell is done or until should_stop(); what the worker calls for a run of this kind.

    Raises LabError when the U-Net run, its checkpoint or its pictures are not what was asked for.
    """
    from core.comparison.comparison import compare
    from core.training.session import Outcome

    request = read_request(run.folder, for_acting=True)
    unet_run = RunStore(store_root).get(request.run_id)
    if (unet_run.id,) != run.info.parents:
        raise UsageError(f"{run.id}: its request names another run than its parent", "start a new comparison")
    done = 0
    try:
        status, images = open_images(run, unet_run, data_dir=data_dir, cache_dir=cache_dir, should_stop=should_stop)
    except Stopped:
        return Outcome(state=RunState.STOPPED, step=done)
    for _ in compare(
        unet_run,
        request,
        results_folder(unet_run, run.id),
        image_set=images,
        cache_dir=cache_dir,
        device=run.settings.machine.device,
        should_stop=should_stop,
        progress=status.tell,
    ):
        done += 1
        status.write(done, force=True)
    total = run.status().steps_total
    state = RunState.FINISHED if done >= total else RunState.STOPPED
    return Outcome(state=state, step=done)
