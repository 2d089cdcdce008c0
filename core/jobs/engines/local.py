"""The embedded engine: one process a job on this machine, one run at a time on a device."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from core.config.schema import project_root
from core.errors import LabError, RunBusy, RunNotFound
from core.jobs.devices import candidate_devices, is_busy
from core.jobs.engines.protocol import JobHandle, JobSpec, Slot
from core.jobs.observed import forget_job, job_process, job_run_ids, observed_status, settle, write_job
from core.jobs.processes import identity_of, kill_group, terminate
from core.jobs.requests import RESUME_REQUESTED
from core.runs.lock import FileLock, try_lock
from core.runs.provenance import current_user
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore, lock_path, storage_error

WORKER_COMMAND = (sys.executable, "-m", "core.jobs.worker")
_children: list[subprocess.Popen[bytes]] = []


class LocalEngine:
    """Starts workers that outlive whoever started them, and finds them again from the run folders.

    command: the worker's command line, to which the runs are appended.
    """

    def __init__(self, store: RunStore, command: Sequence[str] = WORKER_COMMAND) -> None:
        self.store = store
        self.command = tuple(command)

    def submit(self, spec: JobSpec) -> JobHandle:
        """Start a worker for the runs; it waits for the device by itself.

        The run locks are taken here and handed down, so that of two submissions of a run only one gets through.
        Raises RunBusy for the other, LabError when the process cannot be started.
        """
        _reap()
        runs = [self.store.get(run_id) for run_id in spec.run_ids]
        with ExitStack() as held:
            locks = []
            for run in runs:
                locks.append(_take(run))
                held.callback(locks[-1].release)
            for run in runs:
                _refuse_finished(run)
            for run in runs:
                if spec.resumed_by:
                    run.add_event(RESUME_REQUESTED, by=spec.resumed_by)
                forget_job(run)
                run.write_status(
                    replace(run.status(), state=RunState.QUEUED, stage="", reason="", eta_s=None, process=None)
                )
            process = self._spawn(runs, locks)
        identity = identity_of(process.pid)
        if identity is not None:
            for run in runs:
                write_job(run, spec.run_ids, identity)
        return JobHandle(engine="local", run_ids=spec.run_ids, process=identity)

    def handle_of(self, run: Run) -> JobHandle:
        """The job that a run belongs to, as its folder remembers it."""
        return JobHandle(engine="local", run_ids=job_run_ids(run), process=run.status().process or job_process(run))

    def status(self, handles: Sequence[JobHandle]) -> list[dict[str, Status]]:
        """The observed status of each run of each job."""
        _reap()
        return [{run.id: observed_status(run) for run in self._runs(handle)} for handle in handles]

    def stop(self, handle: JobHandle, force: bool = False) -> bool:
        """SIGTERM to the worker; with `force` SIGKILL to it and everything it started."""
        if handle.process is None:
            return False
        return kill_group(handle.process) if force else terminate(handle.process)

    def requeue(self, handle: JobHandle) -> JobHandle:
        """Submit the runs of the job that are not finished."""
        unfinished = [run.id for run in self._runs(handle) if run.status().state != RunState.FINISHED]
        return self.submit(JobSpec(run_ids=tuple(unfinished), resumed_by=current_user()))

    def logs(self, handle: JobHandle) -> list[Path]:
        """log.txt of each run."""
        return [run.log_path for run in self._runs(handle)]

    def capacity(self) -> list[Slot]:
        """The devices of this machine, and whether a run of this lab holds them."""
        return [Slot(device=name, is_busy=is_busy(self.store.root, name)) for name in candidate_devices("auto")]

    def reconcile(self) -> list[Run]:
        """Settle every run whose worker died without saying so."""
        _reap()
        return [run for run in self.store.list() if run.status().state.is_active and not settle(run).state.is_active]

    def _runs(self, handle: JobHandle) -> list[Run]:
        runs = []
        for run_id in handle.run_ids:
            try:
                runs.append(self.store.get(run_id))
            except RunNotFound:
                continue
        return runs

    def _spawn(self, runs: Sequence[Run], locks: Sequence[FileLock]) -> subprocess.Popen[bytes]:
        descriptors = [lock.descriptor for lock in locks]
        command = [*self.command, "--runs", str(self.store.root.resolve())]
        command += ["--locks", ",".join(map(str, descriptors)), *(run.id for run in runs)]
        path = os.pathsep.join(filter(None, [str(project_root()), os.environ.get("PYTHONPATH", "")]))
        try:
            with runs[0].log_path.open("ab") as log, _stop_signals_blocked():
                process = subprocess.Popen(
                    command,
                    cwd=project_root(),
                    env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=descriptors,
                )
        except OSError as error:
            for run in runs:
                run.write_status(
                    replace(run.status(), state=RunState.FAILED, reason=f"its process did not start: {error.strerror}")
                )
            if error.filename == str(runs[0].log_path):
                raise storage_error(error, runs[0].folder) from None
            raise LabError(f"run {runs[0].id}: its process did not start: {error.strerror}") from None
        _children.append(process)
        return process


def _take(run: Run) -> FileLock:
    lock = try_lock(lock_path(run), patience_s=0.3)
    if lock is None:
        raise RunBusy(f"run {run.id} is being worked on by another process", "wait for it, or stop it first")
    return lock


def _refuse_finished(run: Run) -> None:
    status = run.status()
    if status.state is RunState.FINISHED:
        raise LabError(f"run {run.id} is finished at step {status.step:,}: there is nothing to resume")


@contextmanager
def _stop_signals_blocked() -> Iterator[None]:
    """A child started here keeps SIGTERM and SIGINT waiting until it is ready to handle them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _reap() -> None:
    """Collect workers that ended, so that a long-lived server leaves no zombies."""
    _children[:] = [child for child in _children if child.poll() is None]
