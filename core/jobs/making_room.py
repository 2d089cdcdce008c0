"""The supervisor's part in interruptions: it looks at live runs, asks `core.jobs.preemption`, and has them save."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from core.config.site import SiteSettings
from core.errors import LabError
from core.jobs.exit_reason import GOES_ON
from core.jobs.memory_needs import needs_of
from core.jobs.preemption import Interruption, LiveRun, is_preemptible, plan
from core.jobs.queue import Job, JobState, Queue
from core.jobs.slots import Choice, Device, choose
from core.jobs.turns import Turns
from core.machine import attempts
from core.machine.attempts import ROOM
from core.reading import read_object
from core.runs.run import Run, RunState
from core.runs.store import RunStore

logger = logging.getLogger(__name__)
INTERRUPTED = "interrupted for another run"  # the event


def make_room(
    store: RunStore,
    queue: Queue,
    site: SiteSettings,
    turns: Turns,
    waiting: Sequence[Job],
    devices: Sequence[Device],
    may_end: Callable[[Job], bool],
) -> None:
    """Ask the live runs that shall make room to save. waiting: those that may start, as they go.

    may_end: whether this supervisor looks after a live run; all supervisors of a folder decide alike.
    """
    rows = queue.jobs(JobState.LIVE)
    if not waiting or not any(is_preemptible(job, site.preemptible) for job in rows):
        return
    live = [_seen(store, job, site, queue.clock()) for job in rows]

    def start(job: Job, taken: Collection[str], reserved: Collection[str], gone: Collection[str]) -> Choice:
        left = [_without(device, gone) for device in devices]
        needs = needs_of(Run(store.root / job.run_id))
        return choose(job.device, job.num_processes, left, taken, reserved, needs)

    found = plan(
        waiting,
        live,
        start,
        used=turns.used,
        short=turns.short,
        now=queue.clock(),
        every_s=60.0 * site.preempt_every_minutes,
        person=site.account_of,
    )
    for each in filter(lambda each: may_end(each.job), found):
        _interrupt(store, each)


def _interrupt(store: RunStore, asked: Interruption) -> None:
    run, who = Run(store.root / asked.job.run_id), asked.waiting.owner or "somebody"
    run.put_on_record(INTERRUPTED, by=who, for_run=asked.waiting.run_id, reason=asked.why)
    attempts.ask_to_stop(run.folder, asked.job.attempt, level=1, by=who, cause=ROOM, returns=True)
    logger.info("%s makes room for %s: %s", run.id, asked.waiting.run_id, asked.why)


def _seen(store: RunStore, job: Job, site: SiteSettings, now: float) -> LiveRun:
    run = Run(store.root / job.run_id)
    may = False
    status = run.status()
    if is_preemptible(job, site.preemptible) and status.state is RunState.RUNNING:
        with contextlib.suppress(LabError):
            may = run.kind.trains  # what measures a run may lose all that it did
    return LiveRun(
        job=job,
        may_be_interrupted=may,
        is_ending=attempts.stop_of(run.folder, job.attempt) is not None,
        interrupted_at=min(interrupted_at(run), now),
        left_s=status.eta_s,
    )


def made_room(run: Run) -> str:
    """Of a run that waits: 'interrupted for a run of ben; continues by itself'; '' where it does not wait for that."""
    request = attempts.stop_of(run.folder, attempts.current_attempt(run.folder))
    return f"interrupted for a run of {request.by}{GOES_ON}" if request is not None and request.cause == ROOM else ""


def interrupted_at(run: Run) -> float:
    """When the run was last asked to make room, seconds since 1970; 0 for never. What a person asked since hides it."""
    try:
        facts = read_object(run.folder / attempts.STOP_FILE)
    except (OSError, ValueError):
        return 0.0
    request = attempts.stop_of(run.folder, facts["attempt"]) if isinstance(facts.get("attempt"), int) else None
    return request.at if request is not None and request.cause == ROOM else 0.0


def _without(device: Device, gone: Collection[str]) -> Device:
    """A GPU as it is once these runs have let go of it."""
    freed = sum(device.held.get(run_id, 0) for run_id in gone)
    return device if device.free_bytes is None else replace(device, free_bytes=device.free_bytes + freed)
