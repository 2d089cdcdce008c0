"""The process that works on runs: takes their locks, waits for the device, trains, and writes down how it ended."""

from __future__ import annotations

import argparse
import errno
import faulthandler
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from core.config.load import ENVIRONMENT, resolve_path
from core.errors import LabError, RunBusy
from core.jobs import devices
from core.jobs.processes import own_identity
from core.jobs.stopping import StopRequests
from core.runs.listing import last_checkpoint_in_words, list_checkpoints
from core.runs.lock import FileLock, adopt_lock, try_lock
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore, lock_path

if TYPE_CHECKING:
    from core.training.loop import StepResult
    from core.training.session import Outcome

logger = logging.getLogger(__name__)

DEVICE_POLL_S = 0.5
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
OnStep = Callable[["StepResult"], None]
Watch = Callable[[Run], AbstractContextManager[OnStep | None]]


class Trainer(Protocol):
    """What trains one kind of run; see core.training.train_vae.train."""

    def __call__(
        self,
        run: Run,
        *,
        data_dir: Path,
        cache_dir: Path,
        store_root: Path,
        should_stop: Callable[[], bool],
        on_step: OnStep | None = None,
    ) -> Outcome:
        """Train until the end or until should_stop()."""
        ...


def default_trainers() -> dict[str, Trainer]:
    """Kind → function. PyTorch is imported when one is called."""

    def train_vae(run: Run, **arguments: Any) -> Outcome:
        from core.training.train_vae import train

        return train(run, **arguments)

    def train_unet(run: Run, **arguments: Any) -> Outcome:
        from core.training.train_unet import train

        return train(run, **arguments)

    return {"vae": train_vae, "unet": train_unet}


class Worker:
    """Works on runs one after the other; the first is usually a VAE and the second the U-Net that needs it."""

    def __init__(
        self,
        store: RunStore,
        runs: Sequence[Run],
        locks: Sequence[FileLock],
        *,
        stops: StopRequests,
        trainers: Mapping[str, Trainer] | None = None,
        watch: Watch = lambda run: nullcontext(),
        before_run: Callable[[Run], None] = lambda run: None,
    ) -> None:
        self.store = store
        self.waiting = list(runs)
        self.locks = {run.id: lock for run, lock in zip(runs, locks, strict=True)}
        self.stops = stops
        self.trainers = trainers if trainers is not None else default_trainers()
        self.watch = watch
        self.before_run = before_run
        self.ended: dict[str, RunState] = {}
        self.device: tuple[str, FileLock] | None = None
        self.device_setting = ""

    def work(self) -> dict[str, RunState]:
        """Do all of it. Returns how each run ended; their folders tell why."""
        identity = own_identity()
        first = self.waiting[0]
        for run in self.waiting:
            stage = "" if run is first else f"waiting for {first.id}"
            status = replace(run.status(), state=RunState.QUEUED, stage=stage, reason="", process=identity)
            run.write_status(status)
        while self.waiting:
            run = self.waiting.pop(0)
            self.before_run(run)
            self._work_on(run)
        self._give_device_back()
        return self.ended

    def _work_on(self, run: Run) -> None:
        for parent in run.info.parents:
            if self.ended.get(parent, RunState.FINISHED) is not RunState.FINISHED:
                state = self.ended[parent]
                self._end(run, state, f"its VAE run {parent} {'was stopped' if state == 'stopped' else 'failed'}")
                return
        try:
            if not self._wait_for_device(run):
                self._end(run, RunState.STOPPED, f"stopped by {self.stops.asked_by(run)} before it began")
                return
            checkpoints = list_checkpoints(run)
            state = RunState.RESUMING if checkpoints else RunState.STARTING
            self._say(run, state=state, stage="loading PyTorch")
            details = {"from_step": checkpoints[-1].step} if checkpoints else {}
            run.add_event("resumed" if checkpoints else "started", by=run.info.owner, **details)
            with self.watch(run) as on_step:
                outcome = self.trainers[run.info.kind](
                    run,
                    data_dir=place(run, "data"),
                    cache_dir=place(run, "cache"),
                    store_root=self.store.root,
                    should_stop=lambda: self._should_stop(run),
                    on_step=on_step,
                )
        except KeyboardInterrupt:
            self._end(run, RunState.STOPPED, f"ended at once by a second Ctrl-C; {last_checkpoint_in_words(run)}")
        except Exception as error:  # the last line of defence: whatever went wrong is told in the run
            self._end(run, RunState.FAILED, failure_in_words(error))
        else:
            reason = outcome.reason
            by = self.stops.asked_by(run)
            if outcome.state is RunState.STOPPED and by:
                reason = f"stopped by {by} at step {outcome.step:,}; {last_checkpoint_in_words(run)}"
            self._end(run, outcome.state, reason, step=outcome.step)

    def _should_stop(self, run: Run) -> bool:
        asked = self.stops.asked_by(run) is not None
        for other in list(self.waiting):
            by = self.stops.asked_by(other)
            if by and not asked:
                self.waiting.remove(other)
                self._end(other, RunState.STOPPED, f"stopped by {by} before it began")
        return asked

    def _wait_for_device(self, run: Run) -> bool:
        """Take the device's lock; False when a stop came first."""
        if self._should_stop(run):
            return False
        setting = run.settings.machine.device
        if self.device and self.device_setting == setting:
            return True
        self._give_device_back()
        said = False
        while True:
            self.device = devices.try_device(self.store.root, setting)
            if self.device:
                break
            if not said:
                self._say(run, state=RunState.QUEUED, stage=f"waiting for {devices.in_words(setting)}")
                said = True
            time.sleep(DEVICE_POLL_S)
            if self._should_stop(run):
                return False
        self.device_setting = setting
        gpus = devices.visible_gpus()
        if setting in ("auto", "cuda") and len(gpus) > 1 and "torch" not in sys.modules:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.device[0].partition(":")[2]
        return True

    def _give_device_back(self) -> None:
        if self.device:
            self.device[1].release()
            self.device = None

    def _say(self, run: Run, **changes: Any) -> None:
        run.write_status(replace(run.status(), **changes))

    def _end(self, run: Run, state: RunState, reason: str, *, step: int | None = None) -> None:
        """The run's last word. A full disk does not hide it from the log."""
        self.ended[run.id] = state
        log = logger.error if state is RunState.FAILED else logger.info
        log("run %s %s%s", run.id, state, f": {reason}" if reason else "")
        status = run.status()
        final: Status = replace(
            status,
            state=state,
            step=status.step if step is None else step,
            stage="",
            reason=reason,
            eta_s=None,
            process=None,
        )
        # the state last: whoever sees the end sees its event too; on a full disk each is tried for itself
        for write in (
            lambda: run.add_event(str(state), step=final.step, reason=reason),
            lambda: run.write_status(final),
        ):
            try:
                write()
            except OSError as error:
                logger.error("run %s: its end could not be written down: %s", run.id, error)
        self.stops.forget(run)
        self.locks.pop(run.id).release()


def failure_in_words(error: BaseException) -> str:
    """One sentence for a person; what is unexpected goes to the log with its traceback."""
    if isinstance(error, LabError):
        return str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk or the quota is full; free some space and resume"
    logger.error("unexpected error", exc_info=error)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "the machine ran out of memory; use a smaller batch_size or more gradient_accumulation_steps"
    if type(error).__name__ == "OutOfMemoryError":
        return "the GPU ran out of memory; use a smaller batch_size or more gradient_accumulation_steps"
    first_line = (str(error).splitlines() or [""])[0][:300]
    return f"unexpected {type(error).__name__}: {first_line}; the log has the details"


def place(run: Run, name: str) -> Path:
    """The run's `paths.data` or `paths.cache`; LAB_DATA and LAB_CACHE win, as everywhere."""
    for variable, setting in ENVIRONMENT.items():
        if setting == f"paths.{name}" and os.environ.get(variable):
            return resolve_path(os.environ[variable])
    return resolve_path(getattr(run.settings.paths, name))


def take_run_lock(run: Run) -> FileLock:
    """The run's lock, held until the process ends. Raises RunBusy while another process has it."""
    lock = try_lock(lock_path(run), patience_s=2.0)
    if lock is None:
        raise RunBusy(f"run {run.id} is being worked on by another process", "wait for it, or stop it first")
    return lock


def main(argv: Sequence[str] | None = None, *, trainers: Mapping[str, Trainer] | None = None) -> int:
    """Work on the runs named on the command line, detached from any terminal. Returns the exit code.

    trainers: kind → function; the default trains for real.
    """
    parser = argparse.ArgumentParser(prog="python -m core.jobs.worker", description="Work on runs, detached.")
    parser.add_argument("--runs", type=Path, required=True, help="the runs folder")
    parser.add_argument("--locks", default="", help="descriptors of run locks taken by the launcher")
    parser.add_argument("ids", nargs="+", help="run ids, in order")
    arguments = parser.parse_args(argv)
    faulthandler.enable()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr, force=True)
    store = RunStore(arguments.runs)
    try:
        runs = [store.get(run_id) for run_id in arguments.ids]
        if arguments.locks:
            numbers = [int(number) for number in arguments.locks.split(",")]
            locks = [adopt_lock(lock_path(run), number) for run, number in zip(runs, numbers, strict=True)]
        else:
            locks = [take_run_lock(run) for run in runs]
    except LabError as error:
        logger.error("%s", error)
        return error.exit_code
    stops = StopRequests(runs)
    stops.install()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ended = Worker(store, runs, locks, stops=stops, trainers=trainers, before_run=send_output_to_log).work()
    return 0 if all(state is RunState.FINISHED for state in ended.values()) else 1


def send_output_to_log(run: Run) -> None:
    """From here on everything the process prints, libraries and crashes included, goes to the run's log.txt."""
    descriptor = os.open(run.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
