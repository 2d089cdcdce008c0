"""The engine of this machine: a queue, one supervisor per runs folder, a process of its own for every run."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from core import atomic, reading
from core.errors import ConfigError, LabError, RunBusy
from core.jobs import frozen_code
from core.jobs.accounts import state_folder
from core.jobs.engines.protocol import NOTHING, Observation
from core.jobs.exit_reason import Ending, ending_of, in_words, never_started, settled, write_ending
from core.jobs.job_row import job_for
from core.jobs.orders import Orders
from core.jobs.queue import JobState, Queue
from core.jobs.request import FILE, JobRequest, asked_settings, keep_request, read_request, refuse_cluster_options
from core.jobs.start_supervisor import start_supervisor
from core.machine import attempts
from core.machine.processes import is_alive
from core.runs.lock import is_locked, try_lock
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore, lock_path, storage_error
from core.weighing import weigh_run

logger = logging.getLogger(__name__)

RELEASE_PATIENCE_S = 15.0


class LocalEngine:
    """Puts runs into the queue of their folder, and finds them again from there and from the run folders.

    worker: another training command line, for tests.
    """

    def __init__(self, store: RunStore, worker: Sequence[str] | None = None) -> None:
        self.store = store
        self.worker = worker
        self.queue = Queue(store.root)
        self.orders = Orders(self.queue.folder)

    def submit(self, runs: Sequence[Run], *, resumed_by: str = "", request: Mapping[str, Any] = NOTHING) -> None:
        """Queue the runs with the code as it is now, all or none. Of two submissions of a run one gets through.

        One that has just ended is waited for until its processes are gone and the supervisor has let go of it.
        Raises RunBusy, LabError and OSError; then the runs are as they were.
        """
        self.queue.refuse_newer()
        self._wait_for_release(runs)
        with ExitStack() as held:
            for run in runs:  # the supervisor and other submitters wait while we hold the locks
                lock = try_lock(lock_path(run), patience_s=0.3)
                if lock is None:
                    raise RunBusy(
                        f"run {run.id} is being worked on by another process", "wait for it, or stop it first"
                    )
                held.callback(lock.release)
            asked = {run.id: read_request(run).with_changes(request) for run in runs}
            for run in runs:
                self._refuse_unfit(run, asked[run.id])
                refuse_cluster_options(asked[run.id])
            place = self.queue.folder
            try:
                place = state_folder(self.queue.folder)
                code = frozen_code.freeze(place)
            except OSError as error:
                raise storage_error(error, place) from None
            with _unchanged_if_refused(runs):
                for run in runs:
                    keep_request(run, asked[run.id])
                    attempts.withdraw_stop(run.folder)
                    run.write_status(settled(run.status(), RunState.QUEUED))
                jobs = [job_for(run, code=code) for run in runs]
                for job in jobs:
                    self.orders.keep(job)
                if not self.queue.put(*jobs):
                    names = ", ".join(run.id for run in runs)
                    raise RunBusy(f"run {names} is in the queue already", "wait for it, or stop it first")
            for run in runs if resumed_by else ():
                run.put_on_record("resume requested", by=resumed_by)
        try:
            start_supervisor(self.store, self.worker)
        except (LabError, OSError) as error:  # they are queued; whoever looks next tries again, or says so
            logger.warning("no supervisor could be started: %s", error)

    def ask_to_stop(self, run: Run, *, by: str, kills: bool = False, pauses: bool = False) -> None:
        """Write the request down; the shim passes it on, whoever else lives. A run that waits is taken out here."""
        event = "kill requested" if kills else "pause requested" if pauses else "stop requested"
        level = 2 if kills else 1
        was_asked = False
        for _ in range(3):  # between two looks a waiting run may start, or a live one end
            job = self.queue.job(run.id)
            if job is not None and job.state in (JobState.QUEUED, JobState.PAUSED):
                if pauses and job.state is JobState.PAUSED:
                    return
                if self.queue.take_out(run.id, state=JobState.PAUSED if pauses else JobState.ENDED):
                    if not was_asked:
                        run.put_on_record(event, by=by)
                    _end_waiting(run, never_started(run, by=by, pauses=pauses))
                    return
                continue
            status = self.observe(run).status
            if not status.state.is_active:
                raise LabError(f"run {run.id} is not running: it is {in_words(status)}")
            if job is not None and job.state is JobState.ENDED:  # it was queued again a moment ago, or has just ended
                time.sleep(0.1)
                continue
            if not was_asked:
                run.put_on_record(event, by=by)  # first: workers of version 0.1 tell a request from a bare signal by it
                was_asked = True
            if job is None and status.state is RunState.QUEUED:  # it waits, and the queue was lost
                _end_waiting(run, never_started(run, by=by, pauses=pauses))
                return
            attempt = max(attempts.current_attempt(run.folder), job.attempt if job else 0)
            attempts.ask_to_stop(run.folder, attempt, level=level, by=by, pauses=pauses)
            with contextlib.suppress(LabError):
                start_supervisor(self.store, self.worker)
            now = self.queue.job(run.id)
            if now is None or now.state is not JobState.QUEUED:  # else it died first and came back, unasked
                return
        raise LabError(f"run {run.id} is not running: it is {in_words(self.observe(run).status)}")

    def observe(self, run: Run) -> Observation:
        """status.json, with an active state corrected when no living process stands behind it.

        Waiting needs no process. A run that was asked to stop shows as stopping while its process lives. What the
        supervisor makes of a process that died (queued again, interrupted, …) is written in status.json within seconds.
        """
        status = run.status()
        if status.state.is_active and status.state is not RunState.QUEUED:
            attempt = attempts.current_attempt(run.folder)
            if _is_worked_on(run, status, attempt):
                asked = attempts.stop_of(run.folder, attempt)
                status = replace(status, state=RunState.STOPPING) if asked else status
                return Observation(status=status, is_held=lambda: True)
            status = run.status()  # it may have ended between the two looks
            if status.state.is_active and status.state is not RunState.QUEUED:
                ending = ending_of(run)
                status = settled(status, ending.state, ending.reason)
        return Observation(status=status, is_held=lambda: self._is_live(run))

    def forget(self, run: Run) -> None:
        """The supervisor does it: it drops rows whose folder is gone."""

    def _wait_for_release(self, runs: Sequence[Run]) -> None:
        deadline = time.monotonic() + RELEASE_PATIENCE_S
        for run in runs:
            while self._is_ending(run) and time.monotonic() < deadline:
                start_supervisor(self.store, self.worker)  # only a supervisor lets go
                time.sleep(0.1)

    def _is_ending(self, run: Run) -> bool:
        """True while it is over, written down or not, and something of the attempt is still there."""
        if not (self._is_live(run) or is_locked(lock_path(run))):
            return False
        return not self.observe(run).status.state.is_active

    def _is_live(self, run: Run) -> bool:
        job = self.queue.job(run.id)
        return job is not None and job.state is JobState.LIVE

    def _refuse_unfit(self, run: Run, request: JobRequest) -> None:
        status = run.status()
        if status.state is RunState.FINISHED:
            raise LabError(f"run {run.id} is finished at step {status.step:,}: there is nothing to resume")
        job = self.queue.job(run.id)
        if job is not None and job.state in (JobState.QUEUED, JobState.LIVE):
            words = "waits in the queue" if job.state is JobState.QUEUED else "is being worked on"
            raise RunBusy(f"run {run.id} {words} already", "watch it, or stop it first")
        with contextlib.suppress(ConfigError):  # settings that cannot be read: the worker says so
            settings = asked_settings(run, request)
            if run.kind.worker:
                weigh_run(settings, run.kind).refuse()


def _is_worked_on(run: Run, status: Status, attempt: int) -> bool:
    """Whether a process of the run lives. The lock alone does not say so: who judges an ended attempt holds it too."""
    if is_alive(status.process) and not attempts.is_copy(run.folder):
        return True
    return is_locked(lock_path(run)) and attempts.read_file(run.folder, attempts.EXIT_FILE, attempt) is None


def _end_waiting(run: Run, ending: Ending) -> None:
    """The last word of a run that has left the queue. Raises OSError where its state could not be written."""
    try:
        write_ending(run, ending)
    except OSError:
        if run.status().state is not ending.state:
            raise


@contextlib.contextmanager
def _unchanged_if_refused(runs: Sequence[Run]) -> Iterator[None]:
    """What an error leaves of status.json, stop.json and job.json is what stood there before."""
    paths = [path for run in runs for path in (run.status_path, run.folder / attempts.STOP_FILE, run.folder / FILE)]
    before: dict[Path, bytes | None] = {}
    for path in paths:
        with contextlib.suppress(OSError, reading.Unreadable):
            before[path] = reading.read_bytes(path) if path.exists() else None
    try:
        yield
    except BaseException:
        for path, data in before.items():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True) if data is None else atomic.write_bytes(path, data)
        raise
