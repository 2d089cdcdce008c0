"""The embedded engine: a queue, one supervisor a runs folder, a process of its own for every training."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from core.errors import LabError, RunBusy, RunNotFound
from core.jobs import frozen_code
from core.jobs.engines.protocol import JobHandle, JobSpec, Slot
from core.jobs.job_row import job_for
from core.jobs.observed import observed_status
from core.jobs.queue import Job, JobState, Queue
from core.jobs.slots import find_devices, slots_of
from core.jobs.stop_events import RESUME_REQUESTED
from core.jobs.supervisor import start_supervisor
from core.machine.attempts import write_stop
from core.runs.lock import FileLock, try_lock
from core.runs.provenance import current_user
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore, lock_path, storage_error


class LocalEngine:
    """Puts runs into the queue of their folder and finds them again from there and from the run folders.

    worker: another training command line, for tests.
    """

    def __init__(self, store: RunStore, worker: Sequence[str] | None = None) -> None:
        self.store = store
        self.worker = worker
        self.queue = Queue(store.root)

    def submit(self, spec: JobSpec) -> JobHandle:
        """Queue the runs, in this order, with the code as it is now. Of two submissions of a run one gets through.

        Raises RunBusy for the other, LabError for a finished run; then nothing was queued.
        """
        runs = [self.store.get(run_id) for run_id in spec.run_ids]
        with ExitStack() as held:
            for run in runs:  # the supervisor and other submitters wait while we hold the locks
                lock = _take(run)
                held.callback(lock.release)
            for run in runs:
                self._refuse_unfit(run)
            code = self._freeze()
            for run in runs:
                if spec.resumed_by:
                    run.add_event(RESUME_REQUESTED, by=spec.resumed_by)
                run.write_status(
                    replace(
                        run.status(),
                        state=RunState.QUEUED,
                        stage="",
                        reason="",
                        eta_s=None,
                        images_per_s=None,
                        process=None,
                    )
                )
                if not self.queue.put(replace(job_for(run, priority=spec.priority, code=code))):
                    raise RunBusy(f"run {run.id} is in the queue already", "wait for it, or stop it first")
        start_supervisor(self.store, self.worker)
        return self.handle_of(runs[0])

    def handle_of(self, run: Run) -> JobHandle:
        """The job of a run."""
        return JobHandle(engine="local", run_ids=(run.id,), process=run.status().process)

    def status(self, handles: Sequence[JobHandle]) -> list[dict[str, Status]]:
        """The observed status of each run of each job."""
        return [{run.id: observed_status(run) for run in self._runs(handle)} for handle in handles]

    def stop(self, handle: JobHandle, force: bool = False) -> bool:
        """Ask the attempts to save and end, or kill them. A job that only waits leaves the queue."""
        reached = False
        for run in self._runs(handle):
            reached |= self.ask_to_stop(run, level=2 if force else 1, by=current_user())
        return reached

    def ask_to_stop(self, run: Run, *, level: int, by: str, pause: bool = False) -> bool:
        """1 save and stop, 2 kill; works while no supervisor lives. False when no attempt lives."""
        job = self.queue.ask_to_stop(run.id, level=level, by=by, pause=pause)
        if job is None:
            return False
        write_stop(run.folder, job.attempt, job.stop_level, by)
        with contextlib.suppress(LabError):
            start_supervisor(self.store, self.worker)
        return True

    def requeue(self, handle: JobHandle) -> JobHandle:
        """Submit the runs of the job that are not finished."""
        unfinished = [run.id for run in self._runs(handle) if run.status().state != RunState.FINISHED]
        return self.submit(JobSpec(run_ids=tuple(unfinished), resumed_by=current_user()))

    def logs(self, handle: JobHandle) -> list[Path]:
        """log.txt of each run."""
        return [run.log_path for run in self._runs(handle)]

    def capacity(self) -> list[Slot]:
        """The slots of this machine, and whether a run of this lab holds them."""
        from core.config.load import load_config

        leases = self.queue.leases()
        return [
            Slot(device=slot, is_busy=slot in leases or bool(device.problem))
            for device in find_devices(load_config().machine)
            for slot in slots_of(device)
        ]

    def reconcile(self) -> list[Run]:
        """Have a supervisor, which repairs what is broken at its start; the runs it will look at."""
        start_supervisor(self.store, self.worker)
        live = self.queue.jobs(JobState.LIVE)
        return [Run(self.store.root / job.run_id) for job in live]

    def _refuse_unfit(self, run: Run) -> None:
        status = run.status()
        if status.state is RunState.FINISHED:
            raise LabError(f"run {run.id} is finished at step {status.step:,}: there is nothing to resume")
        job = self.queue.job(run.id)
        if job is not None and job.state in (JobState.QUEUED, JobState.LIVE):
            words = "waits in the queue" if job.state is JobState.QUEUED else "is being worked on"
            raise RunBusy(f"run {run.id} {words} already", "watch it, or stop it first")

    def _freeze(self) -> str:
        try:
            return frozen_code.freeze(self.queue.folder)
        except OSError as error:
            raise storage_error(error, self.queue.folder) from None

    def _runs(self, handle: JobHandle) -> list[Run]:
        runs = []
        for run_id in handle.run_ids:
            try:
                runs.append(self.store.get(run_id))
            except RunNotFound:
                continue
        return runs


def waiting_job(queue: Queue, run_id: str) -> Job | None:
    """The run's job while it waits, paused ones included."""
    job = queue.job(run_id)
    return job if job is not None and job.state in (JobState.QUEUED, JobState.PAUSED) else None


def _take(run: Run) -> FileLock:
    lock = try_lock(lock_path(run), patience_s=0.3)
    if lock is None:
        raise RunBusy(f"run {run.id} is being worked on by another process", "wait for it, or stop it first")
    return lock
