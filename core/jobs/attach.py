"""Watching queued runs from a terminal: a progress bar each; Ctrl-C saves and stops, a second one kills."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

from tqdm import tqdm

from core import reading
from core.errors import LabError
from core.jobs.engines.choose import engine_for, observed_status
from core.jobs.plain_lines import progress_stream
from core.jobs.queue_order import ensure_supervisor
from core.jobs.queue_view import waits_for
from core.jobs.service import force_stop, request_stop
from core.runs.metrics import MetricsReader
from core.runs.provenance import current_user
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore

TICK_S = 0.2
QUIET_TICK_S = 10.0  # into a file a line now and then is enough


@dataclass(frozen=True, kw_only=True)
class AttachResult:
    """How each run ended, and whether it was stopped from this terminal."""

    states: Mapping[str, RunState]
    was_interrupted: bool


class Interrupts:
    """Counts Ctrl-C and SIGTERM; a closed terminal only ends the watching, the runs go on."""

    def __init__(self) -> None:
        self.count = 0
        self.hung_up = False
        self.acted = 0

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals while inside; main thread only."""
        handlers = dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), self._on_signal)
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.hung_up = True
        else:
            self.count += 1


def attach(store: RunStore, runs: Sequence[Run]) -> AttachResult:
    """Show the runs, one after the other, until the last has ended; or until the terminal is closed."""
    interrupts = Interrupts()
    states: dict[str, RunState] = {}
    with interrupts.installed():
        for run in runs:
            states[run.id] = _follow(store, run, runs, interrupts).state
            if interrupts.hung_up:
                break
    for run in runs:
        states.setdefault(run.id, observed_status(run).state)
    return AttachResult(states=states, was_interrupted=interrupts.count > 0)


def _follow(store: RunStore, run: Run, runs: Sequence[Run], interrupts: Interrupts) -> Status:
    engine, reader, log = engine_for(store), MetricsReader(run.metrics_path), _Warnings(run)
    status = observed_status(run)
    bar = tqdm(
        total=status.steps_total,
        initial=status.step,
        desc=run.kind.title,
        unit=run.kind.unit,
        file=progress_stream(),
        dynamic_ncols=True,
        disable=False,
        mininterval=TICK_S if sys.stderr.isatty() else QUIET_TICK_S,
    )
    loss, looked_at, drawn_at = "", 0.0, 0.0
    try:
        while True:
            seen = engine.observe(run)
            status, over = seen.status, not seen.is_held()
            for record in reader.read_new():
                loss = f"loss {record['loss']:.4g}" if isinstance(record.get("loss"), float) else loss
            log.show()
            words = status.stage
            if status.state is RunState.QUEUED:
                cause = waits_for(store, run)
                words = f"waits for {cause}" if cause else "waits"
            if status.share and status.state is RunState.RUNNING:
                words = f"{words} {status.share:.0%}"
            bar.set_postfix_str(loss if words == "training" and loss else words, refresh=False)
            if status.step >= bar.n:
                bar.update(status.step - bar.n)
            now = time.monotonic()
            if now - drawn_at >= (TICK_S if sys.stderr.isatty() else QUIET_TICK_S) or over:
                drawn_at = now
                bar.refresh()
            if interrupts.hung_up or (over and not status.state.is_active):
                return status
            if interrupts.count > interrupts.acted:
                interrupts.acted = interrupts.count
                _interrupt(store, runs, kill=interrupts.count > 1)
            if time.monotonic() - looked_at > 5.0:
                looked_at = time.monotonic()
                ensure_supervisor(store)
            time.sleep(TICK_S)
    finally:
        with contextlib.suppress(OSError):  # the terminal may be gone
            bar.close()


def _interrupt(store: RunStore, runs: Sequence[Run], *, kill: bool) -> None:
    by = f"{current_user()} (Ctrl-C)"
    for run in reversed(runs):  # what waits first, so that it does not start meanwhile
        with contextlib.suppress(LabError):
            if kill:
                force_stop(store, run.id, by=by)
            else:
                request_stop(store, run.id, by=by)


class _Warnings:
    """Warnings and errors of the run's log, shown above the bar as they come."""

    def __init__(self, run: Run) -> None:
        self.path = run.log_path
        self.offset = self.path.stat().st_size if self.path.exists() else 0

    def show(self) -> None:
        with contextlib.suppress(OSError, reading.Unreadable):
            with reading.open_regular(self.path, limit=0) as file:
                file.seek(self.offset)
                data = file.read(1 << 20)
            complete = data[: data.rfind(b"\n") + 1]
            self.offset += len(complete)
            for line in complete.decode(errors="replace").splitlines():
                for level in (" WARNING ", " ERROR "):
                    if level in line and ": " in line:
                        words = line.partition(level)[2].partition(": ")[2]
                        tqdm.write("".join(c for c in words if c.isprintable()), file=sys.stderr)
