"""One process a runs folder that starts what waits, ends what ended, and repairs what broke. It never imports PyTorch.

`python -m core.jobs.supervisor --runs FOLDER`. A second one on the same folder ends at once. Browser and command line
start it when they need it; it outlives both, and nothing is lost when it dies: the next one goes on where it stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core import atomic, reading
from core.config.load import load_config
from core.config.schema import MachineSettings, project_root
from core.errors import LabError
from core.jobs import frozen_code
from core.jobs.exit_reason import ending_of, grace_s
from core.jobs.housekeeping import Housekeeping
from core.jobs.job_row import job_for
from core.jobs.queue import Job, JobState, Queue
from core.jobs.slots import CPU, Device, choose, device_of, find_devices
from core.jobs.stop_events import pending_stop
from core.machine import attempts
from core.machine.processes import boot_id, own_identity
from core.runs.lock import FileLock, adopt_lock, is_locked, try_lock
from core.runs.run import Run, RunState, now_iso
from core.runs.store import RunStore, lock_path

logger = logging.getLogger(__name__)

TICK_S = 0.25
UNQUEUED_EVERY_S = 5.0
UPGRADE_EVERY_S = 15.0
FRESH_S = 10.0
IDLE_EXIT_S = 3600.0
LOCK_NAME, FACTS_NAME, LOG_NAME, ACTIVITY_NAME = "supervisor.lock", "supervisor.json", "supervisor.log", "knock"


class Supervisor:
    """The loop. worker: the training's command line, `--runs FOLDER RUN` is appended; None: the real one."""

    def __init__(self, store: RunStore, lock: FileLock, *, worker: Sequence[str] | None = None) -> None:
        self.store, self.lock = store, lock
        self.worker = list(worker) if worker else None
        self.queue = Queue(store.root)
        self.boot = boot_id()
        self.children: list[subprocess.Popen[bytes]] = []
        self.machine = MachineSettings()
        self.problem = ""
        self.config_seen: tuple[float, ...] = ()
        self.unqueued_at = self.upgrade_at = float("-inf")
        self.busy_at = time.monotonic()
        self.started_code = _newest_code()
        self.devices_at, self.devices = float("-inf"), list[Device]()
        self.housekeeping = Housekeeping(store, self.queue)
        self.quitting = False

    def serve(self) -> int:
        """Tick until told to stop, until nothing was to do for an hour, or until the runs folder is gone."""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, self._on_term)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        logger.info("supervisor of %s, pid %d", self.store.root, os.getpid())
        self._rebuild_if_damaged()
        self._write_facts()
        while not self.quitting and self._is_wanted():
            try:
                self.tick()
            except Exception:  # one bad run or a full disk must not end the supervision of all
                logger.exception("a tick failed")
                self._rebuild_if_damaged()
                time.sleep(2.0)
            time.sleep(TICK_S)
        self.housekeeping.close()
        return 0

    def tick(self) -> None:
        """One look at everything; each part is safe to repeat and to be cut off anywhere."""
        self.children = [child for child in self.children if child.poll() is None]
        self._read_config()
        now = time.monotonic()
        if now - self.unqueued_at >= UNQUEUED_EVERY_S:
            self.unqueued_at = now
            self._find_unqueued_runs()
        jobs = self.queue.jobs()
        if jobs:
            self.busy_at = now
        for job in jobs:
            if job.state is JobState.LIVE:
                with _told(job):
                    self._look_after(job)
        self._start_waiting()
        self.housekeeping.tick(self.machine, jobs)
        self._follow_upgrades(now)

    # -- live attempts

    def _look_after(self, job: Job) -> None:
        """Pass requests on; adopt what lost its shim; judge what ended."""
        run = Run(self.store.root / job.run_id)
        if not run.folder.is_dir():
            self.queue.release(job.run_id, job.attempt, JobState.ENDED)
            return
        if job.stop_level:
            attempts.write_stop(run.folder, job.attempt, job.stop_level, job.stop_by)
        lock = try_lock(lock_path(run))
        if lock is None:
            return
        try:
            end = attempts.read_file(run.folder, attempts.EXIT_FILE, job.attempt)
            rebooted = job.boot_id != self.boot
            if end is None and not rebooted and attempts.living_pids(attempts.token_of(job.run_id, job.attempt)):
                logger.warning("%s: its shim is gone, its training lives: adopting it", job.run_id)
                run.add_event("adopted", reason="the process that watched it was gone")
                self._spawn(run, job.attempt, lock, None, environment=dict(os.environ), folder=project_root())
                return
            started = attempts.read_file(run.folder, attempts.ATTEMPT_FILE, job.attempt)
            if end is None and started is None:  # we died between claiming and starting
                self.queue.release(job.run_id, job.attempt, JobState.QUEUED)
                return
            self._finish(run, job, end)
        finally:
            lock.release()

    def _finish(self, run: Run, job: Job, end: dict[str, Any] | None) -> None:
        """Write down how it ended, in the run first and then in the queue."""
        status = run.status()
        ending = ending_of(run, job, end)
        told = status.state is ending.state and status.reason == ending.reason
        if not told:
            if not (status.state is RunState.STOPPED and ending.state is RunState.STOPPED):
                run.add_event(str(ending.state), step=status.step, reason=ending.reason)
            elif job.pauses:
                run.add_event("paused", by=job.stop_by, step=status.step)
            run.write_status(
                replace(
                    status,
                    state=ending.state,
                    reason=ending.reason,
                    stage="",
                    eta_s=None,
                    images_per_s=None,
                    process=None,
                )
            )
        slots = job.slots
        released = self.queue.release(
            job.run_id, job.attempt, ending.job, fruitless=ending.fruitless, last_step=ending.last_step
        )
        if released:
            logger.info("%s attempt %d: %s (%s)", job.run_id, job.attempt, ending.state, ending.reason)
            self.housekeeping.attempt_ended(run, job, ending, [device_of(slot) for slot in slots], self.machine)

    # -- waiting jobs

    def _start_waiting(self) -> None:
        """Give free slots away in the order of the queue; nobody overtakes somebody who waits for the same place."""
        waiting = self.queue.jobs(JobState.QUEUED)
        if not waiting:
            return
        now = time.monotonic()
        if now - self.devices_at >= 1.0:
            self.devices_at, self.devices = now, find_devices(self.machine)
        taken = set(self.queue.leases())
        reserved: set[str] = set()
        for job in waiting:
            with _told(job):
                if not self._is_ready(job):
                    continue
                choice = choose(job.device, job.num_processes, self.devices, taken, reserved)
                if choice.slots and self._start(job, choice.slots):
                    taken.update(choice.slots)
                elif not choice.slots:
                    self.queue.say_why(job.run_id, choice.waits_for)
                    reserved.update(choice.wants)

    def _is_ready(self, job: Job) -> bool:
        """True when what it depends on is finished; it ends, with the reason, when that can no longer happen."""
        run = Run(self.store.root / job.run_id)
        if not (run.folder / "run.json").is_file():
            self.queue.take_out(job.run_id)
            return False
        if run.status().state is RunState.QUEUED and (by := pending_stop(run)):
            self._end_waiting(run, job, RunState.STOPPED, f"stopped by {by} before it began")
            return False
        if (run.vae_dir / "codec.json").exists():
            return True
        for parent_id in job.depends_on:
            parent = Run(self.store.root / parent_id)
            if not (parent.folder / "run.json").is_file():
                self._end_waiting(run, job, RunState.FAILED, f"its VAE run {parent_id} was deleted")
                return False
            state = parent.status().state
            if state is RunState.FINISHED:
                continue
            other = self.queue.job(parent_id)
            if state.is_active or (other is not None and other.state is not JobState.ENDED):
                self.queue.say_why(job.run_id, f"its VAE run {parent_id}")
                return False
            words = {RunState.FAILED: "failed", RunState.STOPPED: "was stopped"}.get(state, f"is {state}")
            self._end_waiting(run, job, state, f"its VAE run {parent_id} {words}")
            return False
        return True

    def _end_waiting(self, run: Run, job: Job, state: RunState, reason: str) -> None:
        run.write_status(replace(run.status(), state=state, reason=reason, stage="", eta_s=None, process=None))
        if self.queue.take_out(job.run_id):
            run.add_event(str(state), reason=reason)

    def _start(self, job: Job, slots: Sequence[str]) -> bool:
        """Claim the slots and start a shim that inherits the run's lock: it is never free in between."""
        run = Run(self.store.root / job.run_id)
        lock = try_lock(lock_path(run), patience_s=0.3)
        if lock is None:
            self.queue.say_why(job.run_id, "another process that works on it")
            return False
        try:
            if job.attempt and attempts.living_pids(attempts.token_of(job.run_id, job.attempt)):
                self.queue.say_why(job.run_id, "processes of its last attempt to end")
                return False
            attempt = self.queue.claim(job.run_id, slots, self.boot)
            if attempt is None:
                return False
            devices = [device for device in self.devices if device.name in {device_of(slot) for slot in slots}]
            titles = " and ".join(device.title for device in devices)
            on_cpu = all(device.name == CPU for device in devices)
            facts = {
                "attempt": attempt,
                "slots": list(slots),
                "boot_id": self.boot,
                "started_at": now_iso(),
                "code": job.code,
                "memory_used_bytes": self.housekeeping.memory_used([device.name for device in devices]),
            }
            run.write_status(
                replace(
                    run.status(),
                    state=RunState.STARTING,
                    stage="starting its process",
                    reason="",
                    device=titles,
                    process=None,
                    eta_s=None,
                    images_per_s=None,
                )
            )
            atomic.write_json(run.folder / attempts.ATTEMPT_FILE, facts)
            code = frozen_code.frozen_root(self.queue.folder, job.code)
            environment = self._environment(job, devices, on_cpu, code)
            self._spawn(run, attempt, lock, self._command(job, run), environment=environment, folder=code)
            logger.info("%s attempt %d started on %s", job.run_id, attempt, ", ".join(slots))
            return True
        finally:
            lock.release()

    def _command(self, job: Job, run: Run) -> list[str]:
        """The worker, or torchrun with one worker a process."""
        tail = ["--runs", str(self.store.root.resolve()), run.id]
        if self.worker:
            return [*self.worker, *tail]
        module = ["-m", "core.jobs.worker"]
        if job.num_processes == 1:
            return [sys.executable, *module, *tail]
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(job.num_processes)]
        return [sys.executable, *torchrun, *module, *tail]

    def _environment(self, job: Job, devices: Sequence[Device], on_cpu: bool, code: Path) -> dict[str, str]:
        """The training's surroundings: the submitter's folders, the frozen code, and its GPUs and no others."""
        environment = {
            **os.environ,
            **job.environment,
            "LAB_PROJECT": str(project_root()),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(code), os.environ.get("PYTHONPATH", "")])),
            "PYTHONUNBUFFERED": "1",
            "LAB_DEVICE": "cpu" if on_cpu else "cuda",
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": "" if on_cpu else ",".join(device.visible for device in devices),
            "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": f"{grace_s(Run(self.store.root / job.run_id)):.0f}",
        }
        if on_cpu and job.num_processes > 1:
            environment["ACCELERATE_USE_CPU"] = "true"
        return environment

    def _spawn(
        self,
        run: Run,
        attempt: int,
        lock: FileLock,
        command: Sequence[str] | None,
        *,
        environment: dict[str, str],
        folder: Path,
    ) -> None:
        """A shim that starts the command; without one it adopts what lives. folder: where its code is imported from."""
        shim = [sys.executable, "-m", "core.jobs.shim", "--run", str(run.folder.resolve()), "--attempt", str(attempt)]
        shim += ["--lock", str(lock.descriptor), "--grace", f"{grace_s(run):g}"]
        shim += ["--adopt"] if command is None else ["--", *command]
        try:
            with (self.queue.folder / LOG_NAME).open("ab") as log:
                child = subprocess.Popen(
                    shim,
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=[lock.descriptor],
                )
        except OSError as error:
            if command is not None:
                end = {"attempt": attempt, "exit_code": None, "problem": f"its process did not start: {error.strerror}"}
                atomic.write_json(run.folder / attempts.EXIT_FILE, end)
            return
        self.children.append(child)

    # -- repairs

    def _find_unqueued_runs(self) -> None:
        """Runs whose folder says that they wait or live, but that the queue does not know: it was lost, or the one who
        put them in died half-way."""
        known = {job.run_id for job in self.queue.jobs()}
        for run in self.store.list():
            if run.id in known:
                continue
            status = run.status()
            if not status.state.is_active:
                continue
            if status.state is RunState.QUEUED and (_age_s(status.heartbeat_at) < FRESH_S or is_locked(lock_path(run))):
                continue  # it is being put in right now
            with contextlib.suppress(LabError, OSError):
                self._take_in(run, status.state)

    def _take_in(self, run: Run, state: RunState) -> None:
        if state is RunState.QUEUED:
            logger.warning("%s waits, but the queue had lost it: put in again", run.id)
            self.queue.put(job_for(run))
            return
        facts: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            facts = reading.read_object(run.folder / attempts.ATTEMPT_FILE)
        attempt, slots = facts.get("attempt"), facts.get("slots")
        if isinstance(attempt, int) and isinstance(slots, list):
            logger.warning("%s lives or died, but the queue had lost it", run.id)
            known = replace(job_for(run), attempt=attempt, slots=tuple(map(str, slots)))
            self.queue.forget(run.id)
            self.queue.restore_live(replace(known, boot_id=str(facts.get("boot_id", ""))))
            return
        if is_locked(lock_path(run)):  # somebody works on it by hand
            return
        reason = "its process is gone"
        run.write_status(replace(run.status(), state=RunState.INTERRUPTED, reason=reason, stage="", process=None))
        run.add_event(str(RunState.INTERRUPTED), reason=reason)

    def _rebuild_if_damaged(self) -> None:
        """Set a damaged queue aside; the run folders fill a new one."""
        if not self.queue.exists() or self.queue.is_sound():
            return
        self.queue.close()
        aside = self.queue.path.with_name(f"queue.db.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        logger.error("the queue is damaged: set aside as %s and built again from the run folders", aside.name)
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                Path(f"{self.queue.path}{suffix}").rename(f"{aside}{suffix}")
        self.unqueued_at = float("-inf")

    # -- itself

    def _read_config(self) -> None:
        """The box's settings, read again when config.yaml changes; a broken file keeps the last good ones."""
        path = project_root() / "config.yaml"
        try:
            stat = path.stat()
            seen = (stat.st_mtime, float(stat.st_size))
        except OSError:
            seen = (0.0, 0.0)
        if seen == self.config_seen:
            return
        self.config_seen = seen
        try:
            self.machine, problem = load_config().machine, ""
        except LabError as error:
            problem = f"config.yaml is not used as it is: {error}"
            logger.error(problem)
        if problem != self.problem:
            self.problem = problem
            self._write_facts()

    def _write_facts(self) -> None:
        facts = {
            "pid": os.getpid(),
            "started_at": now_iso(),
            "problem": self.problem,
            "process": own_identity().__dict__,
        }
        with contextlib.suppress(OSError):
            atomic.write_json(self.queue.folder / FACTS_NAME, facts)

    def _is_wanted(self) -> bool:
        """False once the runs folder is gone, or for an hour nothing ran and nobody looked."""
        try:
            if not os.path.samestat((self.queue.folder / LOCK_NAME).stat(), os.fstat(self.lock.descriptor)):
                return False
        except OSError:
            return False
        if time.monotonic() - self.busy_at < IDLE_EXIT_S:
            return True
        try:
            return time.time() - (self.queue.folder / ACTIVITY_NAME).stat().st_mtime < IDLE_EXIT_S
        except OSError:
            return False

    def _follow_upgrades(self, now: float) -> None:
        """When the checkout was updated and still loads, go on as the new code, with the same pid and lock."""
        if now - self.upgrade_at < UPGRADE_EVERY_S:
            return
        self.upgrade_at = now
        newest = _newest_code()
        if newest == self.started_code:
            return
        self.started_code = newest
        loads = subprocess.run(
            [sys.executable, "-c", "import core.jobs.supervisor, core.jobs.shim"],
            cwd=project_root(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        if loads.returncode:
            words = loads.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            logger.error("the code was changed and does not load, going on as before: %s", words)
            return
        logger.info("the code was changed: going on with it")
        self.housekeeping.close()
        self.queue.close()
        os.set_inheritable(self.lock.descriptor, True)
        os.execv(sys.executable, _command_line(self.store, self.worker, self.lock.descriptor))  # noqa: S606

    def _on_term(self, number: int, frame: object) -> None:
        self.quitting = True


@contextlib.contextmanager
def _told(job: Job):  # type: ignore[no-untyped-def]
    """A problem with one job is logged and does not touch the others."""
    try:
        yield
    except (LabError, OSError, ValueError):
        logger.exception("%s: could not be looked after", job.run_id)


def start_supervisor(store: RunStore, worker: Sequence[str] | None = None) -> None:
    """Start one unless one lives. Cheap enough for every click; of many at once one stays.

    Raises LabError when it cannot be started.
    """
    folder = store.root / Queue(store.root).folder.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _touch_activity(folder)
        _reap()
        if is_locked(folder / LOCK_NAME):
            return
        path = os.pathsep.join(filter(None, [str(project_root()), os.environ.get("PYTHONPATH", "")]))
        with (folder / LOG_NAME).open("ab") as log:
            child = subprocess.Popen(
                _command_line(store, worker),
                cwd=project_root(),
                env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _started.append(child)
    except OSError as error:
        raise LabError(f"{folder}: the supervisor could not be started: {error.strerror}", "check the disk") from None


_started: list[subprocess.Popen[bytes]] = []


def _reap() -> None:
    """Collect supervisors that ended, so that a long-lived server leaves no zombies."""
    _started[:] = [child for child in _started if child.poll() is None]


def _touch_activity(folder: Path) -> None:
    """Somebody looks: at most one touch a minute."""
    path = folder / ACTIVITY_NAME
    if not path.exists() or time.time() - path.stat().st_mtime > 60:
        path.touch()


def _command_line(store: RunStore, worker: Sequence[str] | None, lock: int | None = None) -> list[str]:
    command = [sys.executable, "-m", "core.jobs.supervisor", "--runs", str(store.root.resolve())]
    command += ["--worker", json.dumps(list(worker))] if worker else []
    return command + (["--lock", str(lock)] if lock is not None else [])


def _newest_code() -> float:
    """When core/ was last changed."""
    return max((path.stat().st_mtime for path in (project_root() / "core").rglob("*.py")), default=0.0)


def _age_s(iso: str) -> float:
    from datetime import UTC, datetime

    try:
        return (datetime.now(UTC) - datetime.fromisoformat(iso)).total_seconds()
    except (ValueError, TypeError):
        return float("inf")


def main(argv: Sequence[str] | None = None) -> int:
    """Supervise one runs folder. Returns 0, also when another one does so already."""
    parser = argparse.ArgumentParser(prog="python -m core.jobs.supervisor", description="Start and end what is queued.")
    parser.add_argument("--runs", type=Path, required=True, help="the runs folder")
    parser.add_argument("--worker", default="", help="another worker's command line, as a JSON list (for tests)")
    parser.add_argument("--lock", type=int, default=None, help="descriptor of the lock that is held already")
    arguments = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
    store = RunStore(arguments.runs)
    folder = Queue(store.root).folder
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.lock is not None:
        lock: FileLock | None = adopt_lock(folder / LOCK_NAME, arguments.lock)
    else:
        lock = try_lock(folder / LOCK_NAME)
    if lock is None:
        return 0
    return Supervisor(store, lock, worker=json.loads(arguments.worker) if arguments.worker else None).serve()


if __name__ == "__main__":
    sys.exit(main())
