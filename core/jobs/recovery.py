"""What a supervisor repairs: a damaged queue, and runs that wait or live without standing in it."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from pathlib import Path

from core.errors import LabError, RunBusy
from core.jobs.exit_reason import Ending, ending_of, write_ending
from core.jobs.job_row import job_for
from core.jobs.orders import Orders
from core.jobs.queue import JobState, Queue
from core.jobs.request import read_request
from core.jobs.shares import Use
from core.machine import attempts
from core.runs.lock import is_locked, try_lock
from core.runs.run import Run, RunState
from core.runs.store import RunStore, lock_path
from core.values import age_s, instant

logger = logging.getLogger(__name__)

BEGINS = ("started", "resumed")  # events between which a run held its slots
ENDS = (*(str(state) for state in RunState if not state.is_active), str(RunState.QUEUED))
FRESH_S = 60.0  # a busy machine may take that long between creating a run and queuing it
SEEN_S = 4.0  # of one that seems older than that, as it would after the clock was put forward


def take_in_unqueued(store: RunStore, queue: Queue, waiting_since: dict[str, float]) -> None:
    """Queue the runs whose folder says that they wait or live, but that the queue does not know.

    It was lost, an older one was put back, or the one who put them in died half-way. waiting_since: run → monotonic
    moment at which it was first seen to wait, kept from look to look: the clock alone may have been set.
    """
    now = time.monotonic()
    orders = Orders(queue.folder)
    for job in filter(orders.is_mine, queue.jobs()):
        run = Run(store.root / job.run_id)
        if attempts.current_attempt(run.folder) > job.attempt and run.status().state is not RunState.QUEUED:
            logger.warning("%s: its folder knows a later attempt than the queue: the folder counts", run.id)
            if not queue.release(run.id, job.attempt, JobState.ENDED):
                queue.take_out(run.id)
    known = {job.run_id for job in queue.jobs()}
    for run in store.list():
        if run.id in known or (orders.are_kept and orders.known(run.id) is None):
            continue
        status = run.status()
        if not status.state.is_active:
            continue
        if status.state is RunState.QUEUED:
            waits_s = age_s(status.heartbeat_at)
            seems_new = waits_s is not None and 0 <= waits_s < FRESH_S
            seen_for = now - waiting_since.setdefault(run.id, now)
            if seen_for < (FRESH_S if seems_new else SEEN_S) or is_locked(lock_path(run)):
                continue  # it is being put in right now
        waiting_since.pop(run.id, None)
        with contextlib.suppress(LabError, OSError):
            try:
                read_request(run)
            except LabError as error:
                if status.state is RunState.QUEUED:  # nobody knows when and how it may run
                    write_ending(run, Ending(state=RunState.INTERRUPTED, reason=str(error)))
                raise
            _take_in(run, status.state, queue)


def set_aside_if_damaged(queue: Queue) -> None:
    """Set a damaged queue aside; the run folders fill a new one. Raises LabError for a busy queue or a full disk."""
    if not queue.exists() or queue.is_sound():
        return
    lock = try_lock(queue.folder / "repair.lock")
    if lock is None:  # the supervisor of another account is at it
        raise RunBusy(f"{queue.path}: it is being repaired")
    try:
        if not queue.is_sound():  # asked again: it may just have been repaired
            _set_aside(queue)
            _restore_uses(queue)
    finally:
        lock.release()


def _set_aside(queue: Queue) -> None:
    queue.close()
    aside = queue.path.with_name(f"queue.db.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    logger.error("the queue is damaged: set aside as %s and built again from the run folders", aside.name)
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(OSError):
            Path(f"{queue.path}{suffix}").rename(f"{aside}{suffix}")


def _restore_uses(queue: Queue) -> None:
    """Who used how much, as far as the runs' own records say it: those that are gone are forgotten."""
    found = [use for run in RunStore(queue.folder.parent).list() for use in uses_of(run, queue.clock())]
    if not found:
        return
    with queue.transaction() as database:
        rows = [(use.owner, use.slots, use.start, use.end) for use in found]
        database.executemany("insert into uses(owner, slots, started_s, ended_s) values(?, ?, ?, ?)", rows)


def uses_of(run: Run, now: float) -> list[Use]:
    """The attempts at a run, by its events; each with the slots of the newest one."""
    facts = attempts.read_file(run.folder, attempts.ATTEMPT_FILE, attempts.current_attempt(run.folder)) or {}
    slots = len(facts["slots"]) if isinstance(facts.get("slots"), list) else 1
    found, start = [], None
    for event in run.events():
        at = instant(event.get("at"))
        if at is None:
            continue
        if event.get("event") in BEGINS:
            start = at.timestamp() if start is None else start
        elif event.get("event") in ENDS and start is not None:
            found.append(Use(owner=run.info.owner, slots=slots, start=start, end=min(at.timestamp(), now)))
            start = None
    if start is not None and start < now:  # it lives, or died unseen: from here on its row counts
        found.append(Use(owner=run.info.owner, slots=slots, start=start, end=now))
    return [use for use in found if use.start < use.end]


def _take_in(run: Run, state: RunState, queue: Queue) -> None:
    if state is RunState.QUEUED:
        logger.warning("%s waits, but the queue had lost it: put in again", run.id)
        queue.put(job_for(run))
        return
    attempt = attempts.current_attempt(run.folder)
    facts = attempts.read_file(run.folder, attempts.ATTEMPT_FILE, attempt) or {}
    slots, folders = facts.get("slots"), attempts.texts_in(facts.get("environment"))
    if isinstance(slots, list):
        logger.warning("%s lives or died, but the queue had lost it", run.id)
        queue.forget(run.id)
        job = replace(job_for(run, code=str(facts.get("code") or "")), slots=tuple(map(str, slots)))
        queue.restore_live(replace(job, environment=folders) if folders else job)
    elif not is_locked(lock_path(run)):  # else somebody works on it by hand
        write_ending(run, ending_of(run, attempt))
