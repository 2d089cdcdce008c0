"""What measures a trained run as a run of its own: how such runs are queued, and what their workers open first.

An evaluation and a sampler comparison are such runs. They wait, stop and resume as trainings do, and keep what they
find in the folder of the run that they measure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from core.config.load import read_site, settings_from
from core.config.schema import Settings
from core.errors import UsageError
from core.jobs.engines.protocol import Engine
from core.jobs.job_status import JobStatus
from core.jobs.service import start_runs
from core.runs.kinds import KINDS
from core.runs.provenance import current_user
from core.runs.run import Run, RunState
from core.runs.store import MAX_NAME_LENGTH, RunStore
from core.weighing import weigh_run

if TYPE_CHECKING:
    from core.data.arrays import ImageSet
    from core.sampling.load import LoadedModel
    from core.training.session import Outcome

    Progress = Callable[[str, float], None]  # (what is done now, fraction 0 to 1); raises Stopped

Found = TypeVar("Found")


class Stopped(Exception):
    """A measuring run was asked to stop, between two parts of its work."""


def start_measuring(
    store: RunStore,
    measured: Run,
    kind: str,
    settings: Settings,
    *,
    steps_total: int,
    name: str,
    owner: str = "",
    priority: int = 0,
    request: Mapping[str, Any] | None = None,
    token: str = "",
    engine: Engine | None = None,
    more_files: Mapping[str, bytes] | None = None,
) -> Run:
    """Queue a run of that kind on `measured`. Any member may: that adds results and changes nothing.

    settings: what it works with, in one process. steps_total: in the unit of its kind. token: of one press of a button;
    the same one gives the same run. more_files: contents by relative path.
    Raises UsageError for what never fits this machine, NotAllowed, LabError; then nothing was created.
    """
    asked = settings_for(kind, settings)

    def create(made: list[Run]) -> None:
        made.append(
            store.create(
                kind,
                asked,
                name=name[:MAX_NAME_LENGTH],
                owner=owner or current_user(),
                parents=(measured.id,),
                dataset=dict(measured.info.dataset),
                steps_total=steps_total,
                more_files=more_files,
            )
        )

    return start_runs(store, create, priority=priority, request=request, token=token, engine=engine)[0]


def settings_for(kind: str, settings: Settings) -> Settings:
    """What a measuring run of that kind works with: in one process. Raises UsageError for what never fits here."""
    values = settings.model_dump(mode="json")
    values["machine"]["num_processes"] = 1
    asked = settings_from(values)
    weigh_run(asked, KINDS[kind]).refuse()
    return asked


def open_images(
    run: Run, measured: Run, *, data_dir: Path, cache_dir: Path, should_stop: Callable[[], bool]
) -> tuple[JobStatus, ImageSet]:
    """The status of a measuring run's attempt, and the images that `measured` learned from; takes its cores.

    Raises Stopped when should_stop() says so meanwhile, LabError when the images are not there.
    """
    from core.data.arrays import prepare
    from core.device import device_label, resolve_device, take_free_cores

    machine = run.settings.machine
    take_free_cores(machine.num_threads, share=read_site()[0].cpu_slots)
    status = JobStatus(run, device_label(resolve_device(machine.device)))

    def prepared(stage: str, fraction: float) -> None:
        if should_stop():
            raise Stopped
        status.write(0, f"{stage} {fraction:.0%}")

    status.write(0, "preparing the dataset", force=True)
    images = prepare(
        measured.settings.data, data_dir=data_dir, cache_dir=cache_dir, rules=measured.rules, progress=prepared
    )
    status.write(0, "loading the model", force=True)
    return status, images


def measure(
    run: Run,
    find: Callable[[LoadedModel, ImageSet, Progress], Found],
    keep: Callable[[Run, Found], object],
    *,
    at_once: int,
    data_dir: Path,
    cache_dir: Path,
    store_root: Path,
    should_stop: Callable[[], bool],
) -> Outcome:
    """Find one thing about the run that `run` measures, and keep it with that one; what is stopped keeps nothing.

    at_once: images generated together, for which there has to be room. Raises LabError when the measured run, its
    checkpoint or its images are not there or do not fit.
    """
    from core.model_folders.sources import RunSource
    from core.sampling.room import check_room
    from core.training.session import Outcome

    if len(run.info.parents) != 1:
        raise UsageError(f"{run.id}: names {len(run.info.parents)} runs to measure", "start a new one")
    measured = RunStore(store_root).get(run.info.parents[0])
    try:
        status, images = open_images(run, measured, data_dir=data_dir, cache_dir=cache_dir, should_stop=should_stop)

        def show(stage: str, fraction: float) -> None:
            if should_stop():
                raise Stopped
            status.tell(stage, fraction, 1.0)

        model = RunSource(measured).load(device=run.settings.machine.device)
        check_room(model, at_once)
        found = find(model, images, show)
    except Stopped:
        return Outcome(state=RunState.STOPPED, step=0)
    keep(measured, found)
    status.write(1, "", force=True)
    return Outcome(state=RunState.FINISHED, step=1)
