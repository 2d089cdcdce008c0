"""Training in the terminal: the same worker in this process, with a progress bar, its log also in the run's log.txt."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tqdm import tqdm

from core.jobs.observed import write_job
from core.jobs.processes import own_identity
from core.jobs.stopping import StopRequests
from core.jobs.worker import LOG_FORMAT, OnStep, Trainer, Worker, take_run_lock
from core.runs.provenance import current_user
from core.runs.run import Run, RunState
from core.runs.store import RunStore

if TYPE_CHECKING:
    from core.training.loop import StepResult

BAR_TITLES = {"vae": "VAE", "unet": "U-Net"}


@dataclass(frozen=True, kw_only=True)
class ForegroundResult:
    """How each run ended, and whether Ctrl-C was pressed."""

    states: Mapping[str, RunState]
    was_interrupted: bool


def run_in_foreground(
    store: RunStore, runs: Sequence[Run], *, trainers: Mapping[str, Trainer] | None = None
) -> ForegroundResult:
    """Train the runs here and now. Ctrl-C saves and stops, a second one ends at once.

    Main thread only. Raises RunBusy when another process works on one of them.
    """
    locks = [take_run_lock(run) for run in runs]
    identity = own_identity()
    for run in runs:
        write_job(run, tuple(each.id for each in runs), identity)
    stops = StopRequests(runs, interrupted_by=f"{current_user()} (Ctrl-C)")
    stops.install()
    log = _RunLog()
    log.install()
    try:
        worker = Worker(store, runs, locks, stops=stops, trainers=trainers, watch=progress_bar, before_run=log.follow)
        states = worker.work()
    finally:
        log.remove()
    return ForegroundResult(states=states, was_interrupted=stops.was_interrupted)


@contextlib.contextmanager
def progress_bar(run: Run) -> Iterator[OnStep]:
    """A bar on stderr; before the first step it shows what is being prepared."""
    bar = tqdm(
        total=run.train_settings.steps,
        desc=BAR_TITLES[run.info.kind],
        unit="step",
        file=sys.stderr,
        dynamic_ncols=True,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
    )
    training = threading.Event()

    def show_stage() -> None:
        while not training.wait(0.5):
            bar.set_postfix_str(run.status().stage)

    def on_step(result: StepResult) -> None:
        if not training.is_set():
            training.set()
            stages.join()
            bar.n = bar.initial = bar.last_print_n = result.step - 1
        bar.set_postfix(loss=f"{result.losses['loss']:.4g}", refresh=False)
        bar.update(1)

    stages = threading.Thread(target=show_stage, daemon=True)
    stages.start()
    try:
        yield on_step
    finally:
        training.set()
        stages.join()
        with contextlib.suppress(OSError):  # the terminal may be gone
            bar.close()


class _RunLog:
    """Log lines of core: warnings and worse to the terminal, above the bar; all of them to the run's log.txt."""

    def __init__(self) -> None:
        self.logger = logging.getLogger()
        self.before = (self.logger.level, list(self.logger.handlers))
        self.file: logging.FileHandler | None = None

    def install(self) -> None:
        """Take over the root logger."""
        self.logger.setLevel(logging.INFO)
        self.logger.handlers = [_AboveTheBar()]

    def follow(self, run: Run) -> None:
        """From here on lines go to this run's log."""
        if self.file:
            self.logger.removeHandler(self.file)
            self.file.close()
        self.file = logging.FileHandler(run.log_path, encoding="utf-8")
        self.file.setFormatter(logging.Formatter(LOG_FORMAT))
        self.logger.addHandler(self.file)

    def remove(self) -> None:
        """Give the root logger back."""
        if self.file:
            self.file.close()
        self.logger.setLevel(self.before[0])
        self.logger.handlers = self.before[1]


class _AboveTheBar(logging.Handler):
    """Prints a line without tearing the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):
            tqdm.write(self.format(record), file=sys.stderr)
