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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from core import atomic
from core.config.load import read_site
from core.errors import LabError, is_full_disk
from core.home import code_root
from core.jobs import frozen_code
from core.jobs.accounts import is_shared, open_service_folder, service_folder, state_folder
from core.jobs.confinement import confine_thread
from core.jobs.exit_reason import Ending, again, ending_of, never_started, settled, without_its_vae, write_ending
from core.jobs.fork_server import ForkServer
from core.jobs.housekeeping import Housekeeping
from core.jobs.launch import start_shim, surroundings, worker_command, worker_environment
from core.jobs.making_room import make_room
from core.jobs.memory_needs import less_what_comes, needs_of
from core.jobs.orders import Broken, Orders
from core.jobs.prediction import Predictions
from core.jobs.queue import Job, JobState, Queue
from core.jobs.queue_schema import FORMAT as QUEUE_FORMAT
from core.jobs.queue_schema import NewerQueue
from core.jobs.recovery import set_aside_if_damaged, take_in_unqueued
from core.jobs.request import moment_in_words
from core.jobs.serving import BEAT_EVERY_S, LOCK_NAME, beat, is_served, say_who_serves, stillness, take_lock
from core.jobs.slots import CPU, Device, choose, device_of, find_devices
from core.jobs.start_supervisor import (
    ACTIVITY_NAME,
    LOG_NAME,
    START_NAME,
    command_line,
    is_run_announced,
    take_start,
)
from core.jobs.turns import Turns, turns
from core.machine import attempts
from core.machine.outside import outside
from core.machine.processes import is_of
from core.permissions import account_name
from core.runs.lock import FileLock, adopt_lock, try_lock
from core.runs.run import Run, RunState, now_iso
from core.runs.store import RunStore, lock_path

logger = logging.getLogger(__name__)

TICK_S = 0.25
UNQUEUED_EVERY_S = 5.0
UPGRADE_EVERY_S = 15.0
IDLE_EXIT_S = 3600.0
START_PATIENCE_S = 30.0
LINGER_S = 30.0  # that PyTorch stays loaded after the last run began


class Supervisor:
    """The loop. worker: the training's command line, `--runs FOLDER RUN` is appended; None: the real one.

    forks: what forks workers on a CPU; None: the real one for the real worker, else every worker is started anew.
    """

    def __init__(
        self,
        store: RunStore,
        lock: FileLock,
        *,
        worker: Sequence[str] | None = None,
        forks: ForkServer | None = None,
    ) -> None:
        self.store, self.lock = store, lock
        self.worker = list(worker) if worker else None
        self.queue = Queue(store.root)
        self.orders = Orders(self.queue.folder)
        self.folder = service_folder(self.queue.folder)
        self.children: list[subprocess.Popen[bytes]] = []
        self.forks = forks or (None if worker else ForkServer(self.folder / LOG_NAME))
        self.forks_wanted_at = float("-inf")
        self.site, self.problem = read_site()[0], ""
        self.unqueued_at = self.upgrade_at = self.beat_at = float("-inf")
        self.busy_at, self.knock = time.monotonic(), 0
        self.started_code = _newest_code()
        self.devices_at, self.devices = float("-inf"), list[Device]()
        self.housekeeping = Housekeeping(store, self.queue)
        self.predictions = Predictions(store, self.queue)
        self.waiting_since: dict[str, float] = {}
        self.quitting = False

    def serve(self, starting: FileLock | None = None) -> int:
        """Tick until told to stop, until nothing was to do for an hour, or until the runs folder is gone.

        starting: the lock of this start, given back as soon as others see who serves.
        """
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, self._on_term)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        logger.info("supervisor of %s, pid %d", self.store.root, os.getpid())
        self.write_facts()  # before the queue is opened: others see that it needs no ending before a migration
        if starting is not None:
            starting.release()
        is_checked = False
        while not self.quitting and self._is_wanted():
            try:
                if not is_checked:
                    set_aside_if_damaged(self.queue)
                    is_checked = True
                self.tick()
            except NewerQueue:
                raise
            except Exception as error:  # one bad run or a full disk must not end the supervision of all
                logger.error("a tick failed: %s", error, exc_info=None if is_full_disk(error) else error)
                is_checked = False
                self.unqueued_at = float("-inf")
                time.sleep(2.0)
            time.sleep(TICK_S)
        self.close()
        return 0

    def close(self) -> None:
        """Let go of what else holds memory, threads or files; runs live on."""
        if self.forks:
            self.forks.close()
        self.housekeeping.close()
        self.queue.close()

    def tick(self) -> None:
        """One look at everything; each part is safe to repeat and to be cut off anywhere."""
        now = time.monotonic()
        if now - self.beat_at >= BEAT_EVERY_S:
            self.beat_at = now
            beat(self.folder)
        self.children = [child for child in self.children if child.poll() is None]
        self._read_config()
        if now - self.unqueued_at >= UNQUEUED_EVERY_S:
            self.unqueued_at = now
            take_in_unqueued(self.store, self.queue, self.waiting_since)
        jobs = self.queue.jobs()
        if jobs:
            self.busy_at = now
        for job in jobs:
            if job.state is JobState.LIVE and self._may_end(job):
                with _logged(job):
                    self._look_after(job)
        order = turns(self.queue, self.site, self.queue.jobs(), self.predictions.left_s)
        waiting = self._due(order.order)
        self._load_ahead(now, waiting)
        self._start_waiting(waiting, order)
        self.housekeeping.tick(self.site, jobs)
        self._follow_upgrades(now)

    # -- live attempts

    def _may_end(self, job: Job) -> bool:
        """Whether this supervisor looks after a live run: one of its account, and of accounts whose own is gone."""
        run = Run(self.store.root / job.run_id)
        if not self.orders.are_kept:
            return True
        if self.orders.is_mine(job):
            return self.orders.is_in_place(run)
        started = attempts.read_file(run.folder, attempts.ATTEMPT_FILE, job.attempt) or {}
        pid = started.get("worker_pid")
        lives = isinstance(pid, int) and started.get("boot_id") == attempts.boot_id() and is_of(pid, job.uid)
        return not lives and not run.folder.is_symlink() and not self._serves(job.uid)

    def _serves(self, uid: int) -> bool:
        """Whether the supervisor of that account lives and moves."""
        folder = service_folder(self.queue.folder, uid)
        return is_served(folder) and not stillness(folder)

    def _look_after(self, job: Job) -> None:
        """Adopt what lost its shim; judge what ended."""
        run = Run(self.store.root / job.run_id)
        if not run.folder.is_dir():
            self.queue.release(job.run_id, job.attempt, JobState.ENDED)
            return
        lock = try_lock(lock_path(run))
        if lock is None:
            return
        try:
            end = attempts.read_file(run.folder, attempts.EXIT_FILE, job.attempt)
            started = attempts.read_file(run.folder, attempts.ATTEMPT_FILE, job.attempt)
            if end is None and attempts.living_in(run.folder, job.attempt):
                logger.warning("%s: its shim is gone, its training lives: adopting it", job.run_id)
                run.add_event("adopted", reason="the process that watched it was gone")
                environment = {**os.environ, **self.orders.seal(job)}
                self._spawn(run, job, job.attempt, lock, None, environment=environment, folder=code_root())
                return
            if end is None and started is None:  # we died before it started, or an older folder was put back
                status = run.status()
                if status.state.is_active:
                    run.write_status(settled(status, RunState.QUEUED))
                state = JobState.QUEUED if status.state.is_active else JobState.ENDED
                self.queue.release(job.run_id, job.attempt, state)
                return
            self._finish(run, job)
        finally:
            lock.release()

    def _finish(self, run: Run, job: Job) -> None:
        """Write down how it ended, in the run first and then in the queue."""
        ending = ending_of(run, job.attempt)
        last_step, fruitless = (job.last_step, job.fruitless) if ending.state is RunState.QUEUED else (-1, 0)
        if ending.may_return:
            ending, last_step, fruitless = again(run, ending, last_step=job.last_step, fruitless=job.fruitless)
        status = run.status()
        if (status.state, status.reason) != (ending.state, ending.reason):
            write_ending(run, ending)
        request = attempts.stop_of(run.folder, job.attempt)
        state = JobState.QUEUED if ending.state is RunState.QUEUED else JobState.ENDED
        if ending.state is RunState.STOPPED and request is not None and (request.pauses or job.pauses):
            state = JobState.PAUSED
        if self.queue.release(job.run_id, job.attempt, state, fruitless=fruitless, last_step=last_step):
            logger.info("%s attempt %d: %s (%s)", job.run_id, job.attempt, ending.state, ending.reason)
            self.housekeeping.attempt_ended(run, job, ending, self.site)

    # -- waiting jobs

    def _load_ahead(self, now: float, waiting: Sequence[Job]) -> None:
        """Have PyTorch loaded for whoever waits for a CPU, or is about to; it goes some time after the last one."""
        if self.forks is None:
            return
        if not self.devices:
            self._look_at_devices()
        has_gpu = any(device.name != CPU for device in self.devices)
        first = next((job for job in self._orders_that_wait(waiting) if job.device == CPU or not has_gpu), None)
        is_announced = not has_gpu and is_run_announced(self.folder)
        if first or is_announced:
            self.forks_wanted_at = now
            if self.forks.kind is None or first:
                place = state_folder(self.queue.folder)
                code = frozen_code.frozen_root(place, first.code if first else frozen_code.freeze(place))
                more = first.environment if first else {}
                self.forks.keep(surroundings(code, on_cpu=True, more=more), code)
        elif now - self.forks_wanted_at > LINGER_S:
            self.forks.close()

    def _orders_that_wait(self, waiting: Sequence[Job]) -> Iterator[Job]:
        """The waiting runs of this account, as it ordered them."""
        for job in filter(self.orders.is_mine, waiting):
            with contextlib.suppress(Broken):
                yield self.orders.bound(job)

    def _due(self, order: Sequence[Job]) -> list[Job]:
        """The rows that wait and may start by now, whoever's, as they go."""
        due, now = [], self.queue.clock()
        for job in order:
            if job.state is not JobState.QUEUED:
                continue
            if job.request.starts_s <= now:
                due.append(job)
            elif job.waits_for != (words := f"its start at {moment_in_words(job.request.start_at)}"):
                self.queue.say_why(job.run_id, words)
        return due

    def _start_waiting(self, waiting: Sequence[Job], order: Turns) -> None:
        """Give free slots away in the order of the queue; nobody overtakes somebody for whom a run's end makes room."""
        if not waiting or atomic.is_full(self.store.root):  # others are told by `supervisor_state`
            return
        if time.monotonic() - self.devices_at >= 1.0:
            self._look_at_devices()
        taken = set(self.queue.leases())
        reserved: set[str] = set()
        ready, started = list[Job](), 0
        for row in waiting:
            with _logged(row):
                is_mine = self.orders.is_mine(row)
                job = self._ordered(row) if is_mine else row
                if job is None or not (self._is_ready(job) if is_mine else self._is_next(job)):
                    continue
                ready.append(job)
                needs = needs_of(Run(self.store.root / job.run_id))
                choice = choose(job.device, job.num_processes, self.devices, taken, reserved, needs)
                if not is_mine:  # its own supervisor starts it: what it takes, or waits for, is not ours to give
                    taken.update(choice.slots)
                    reserved.update(choice.keeps if not choice.slots else ())
                elif choice.slots and self._start(job, choice.slots):
                    started += 1
                    taken.update(choice.slots)
                    self._look_at_devices()
                elif not choice.slots:
                    self.queue.say_why(job.run_id, choice.waits_for)
                    reserved.update(choice.keeps)
        if not started:  # else at the next look, when rows and devices say so
            make_room(self.store, self.queue, self.site, order, ready, self.devices, self._may_end)

    def _look_at_devices(self) -> None:
        live = self.queue.jobs(JobState.LIVE)
        self.devices_at, self.devices = time.monotonic(), less_what_comes(find_devices(self.site), self.store, live)

    def _is_next(self, job: Job) -> bool:
        """Whether another account's run, which only its own supervisor starts, keeps the runs behind it waiting."""
        if not self._serves(job.uid):
            self.queue.say_why(job.run_id, f"a supervisor of {account_name(job.uid)}, and none serves")
            return False
        run = Run(self.store.root / job.run_id)
        finished = all(Run(self.store.root / parent).status().state is RunState.FINISHED for parent in job.depends_on)
        return run.status().state is RunState.QUEUED and (finished or not run.lacks_its_vae)

    def _ordered(self, row: Job) -> Job | None:
        """The run as this account ordered it; None for one that it did not, which leaves the queue with the reason."""
        try:
            return self.orders.bound(row)
        except Broken as error:
            run = Run(self.store.root / row.run_id)
            logger.warning("%s: taken out of the queue: %s", row.run_id, error)
            if self.orders.is_in_place(run) and run.status().state is RunState.QUEUED:
                write_ending(run, Ending(state=RunState.INTERRUPTED, reason=str(error)))
            self.queue.take_out(row.run_id)
            return None

    def _is_ready(self, job: Job) -> bool:
        """True when what it depends on is finished; it ends, with the reason, when that can no longer happen."""
        run = Run(self.store.root / job.run_id)
        if not (run.folder / "run.json").is_file():
            self.queue.take_out(job.run_id)
            return False
        if run.status().state in (RunState.FINISHED, RunState.STOPPED, RunState.FAILED):  # an older queue was put back
            self.queue.take_out(job.run_id)
            return False
        request = attempts.stop_of(run.folder, job.attempt)
        is_asked = request is not None and not request.returns
        if request is not None and is_asked and job.started_at:  # it came back before anybody saw it
            self._end_waiting(run, never_started(run, by=request.by))
            return False
        if (run.vae_dir / "codec.json").exists():
            return True
        for parent_id in job.depends_on:
            parent = Run(self.store.root / parent_id)
            if not (parent.folder / "run.json").is_file():
                self._end_waiting(run, without_its_vae(parent_id, None))
                return False
            state = parent.status().state
            if state is RunState.FINISHED:
                continue
            other = self.queue.job(parent_id)
            if state.is_active or (other is not None and other.state is not JobState.ENDED):
                self.queue.say_why(job.run_id, f"its VAE run {parent_id}")
                return False
            self._end_waiting(run, without_its_vae(parent_id, state))
            return False
        return True

    def _end_waiting(self, run: Run, ending: Ending) -> None:
        write_ending(run, ending)
        self.queue.take_out(run.id)

    def _start(self, job: Job, slots: Sequence[str]) -> bool:
        """Claim the slots and start a shim that inherits the run's lock: it is never free in between."""
        run = Run(self.store.root / job.run_id)
        on_cpu = all(device_of(slot) == CPU for slot in slots)
        if on_cpu and self.forks and self.forks.is_loading():
            self.queue.say_why(job.run_id, "PyTorch, which is being loaded")
            return False
        lock = try_lock(lock_path(run), patience_s=0.3)
        if lock is None:
            self.queue.say_why(job.run_id, "another process that works on it")
            return False
        try:
            last = attempts.current_attempt(run.folder)
            if any(attempts.living_in(run.folder, number) for number in {job.attempt, last} - {0}):
                self.queue.say_why(job.run_id, "processes of its last attempt to end")
                return False
            attempts.reserve_exit(run.folder)
            attempt = self.queue.claim(job.run_id, slots, after=last)
            if attempt is None:
                return False
            devices = [device for device in self.devices if device.name in {device_of(slot) for slot in slots}]
            titles = " and ".join(device.title for device in devices)
            facts = {
                "format": attempts.FORMAT,
                "attempt": attempt,
                "slots": list(slots),
                "boot_id": attempts.boot_id(),
                "place": attempts.place_of(run.folder),
                "started_at": now_iso(),
                "code": job.code,
                "environment": job.environment,
                "memory_used_bytes": self.housekeeping.memory_used([device.name for device in devices]),
            }
            (run.folder / attempts.EXIT_FILE).unlink(missing_ok=True)  # how the last one ended says nothing of this one
            starting = settled(run.status(), RunState.STARTING)
            run.write_status(replace(starting, stage="starting its process", device=titles))
            atomic.write_json(run.folder / attempts.ATTEMPT_FILE, facts)
            code = frozen_code.frozen_root(state_folder(self.queue.folder), job.code)
            gpus = sum(device.name != CPU for device in devices)
            command = worker_command(run, max(1, gpus), self.worker)
            environment = worker_environment(run, job, devices, code, seal=self.orders.seal(job))
            self._spawn(run, job, attempt, lock, command, environment=environment, folder=code, may_fork=on_cpu)
            logger.info("%s attempt %d started on %s", job.run_id, attempt, ", ".join(slots))
            return True
        finally:
            lock.release()

    def _spawn(
        self,
        run: Run,
        job: Job,
        attempt: int,
        lock: FileLock,
        command: Sequence[str] | None,
        *,
        environment: Mapping[str, str],
        folder: Path,
        may_fork: bool = False,
    ) -> None:
        child = start_shim(
            run,
            attempt,
            lock,
            command,
            environment=environment,
            folder=folder,
            log_path=self.folder / LOG_NAME,
            request=job.request,
            forks=self.forks if may_fork else None,
        )
        if child is not None:
            self.children.append(child)

    # -- itself

    def _read_config(self) -> None:
        """The site as config.yaml says it now; a broken file keeps the last good one."""
        site, problem = read_site()
        if problem:
            problem = f"config.yaml is not used as it is: {problem}"
        else:
            self.site = site
        if problem != self.problem:
            self.problem = problem
            if problem:
                logger.error(problem)
            self.write_facts()

    def write_facts(self) -> None:
        """Say that this process serves the queue, and show that it moves."""
        say_who_serves(self.folder, QUEUE_FORMAT, self.problem)
        beat(self.folder)

    def _is_wanted(self) -> bool:
        """False once the runs folder is gone, shared or no longer, or for an hour nothing ran and nobody looked."""
        if service_folder(self.queue.folder) != self.folder:
            return False
        try:
            if not os.path.samestat((self.folder / LOCK_NAME).stat(), os.fstat(self.lock.descriptor)):
                return False
        except OSError:
            return False
        try:
            knock = (self.folder / ACTIVITY_NAME).stat().st_mtime_ns
        except OSError:
            knock = self.knock
        if knock != self.knock:
            self.knock, self.busy_at = knock, time.monotonic()
        return time.monotonic() - self.busy_at < IDLE_EXIT_S

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
            cwd=code_root(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        if loads.returncode:
            words = loads.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            logger.error("the code was changed and does not load; continuing with the old code: %s", words)
            return
        logger.info("the code was changed: continuing with it")
        self.close()
        os.set_inheritable(self.lock.descriptor, True)
        outside(os.execv, sys.executable, command_line(self.store, self.worker, lock=self.lock.descriptor))

    def _on_term(self, number: int, frame: object) -> None:
        self.quitting = True


@contextlib.contextmanager
def _logged(job: Job) -> Iterator[None]:
    """A problem with one job is logged and does not touch the others."""
    try:
        yield
    except (LabError, OSError, ValueError) as error:
        hidden = None if is_full_disk(error) else error
        logger.error("%s: could not be looked after: %s", job.run_id, error, exc_info=hidden)


def _newest_code() -> float:
    """When core/ was last changed."""
    return max((path.stat().st_mtime for path in (code_root() / "core").rglob("*.py")), default=0.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Supervise one runs folder. Returns 0, also when another one does so already."""
    parser = argparse.ArgumentParser(prog="python -m core.jobs.supervisor", description="Start and end what is queued.")
    parser.add_argument("--runs", type=Path, required=True, help="the runs folder")
    parser.add_argument("--worker", default="", help="another worker's command line, as a JSON list (for tests)")
    parser.add_argument("--lock", type=int, default=None, help="descriptor of the lock that is held already")
    parser.add_argument("--starting", type=int, default=None, help="descriptor of the lock of this start")
    arguments = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
    store = RunStore(arguments.runs)
    try:
        folder = open_service_folder(Queue(store.root).folder)
    except (LabError, OSError) as error:
        logger.error(str(error))
        return 1
    starting: FileLock | None = None
    if arguments.lock is not None:
        lock: FileLock | None = adopt_lock(folder / LOCK_NAME, arguments.lock)
    else:
        if arguments.starting is not None:
            starting = adopt_lock(folder / START_NAME, arguments.starting)
        else:
            starting = take_start(folder, patience_s=START_PATIENCE_S)
        lock = take_lock(folder)
    if lock is None:
        return 0
    if is_shared(store.root):
        confine_thread(store.root)  # what is started is bound by itself
    try:
        worker = json.loads(arguments.worker) if arguments.worker else None
        return Supervisor(store, lock, worker=worker).serve(starting)
    except NewerQueue as error:
        logger.error(str(error))
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
