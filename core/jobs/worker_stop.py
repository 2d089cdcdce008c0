"""How a worker learns that it should stop: from the runs' events, looked at often, and from signals at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from types import FrameType

from core.jobs.stop_events import pending_stop
from core.runs.run import Run

POLL_S = 0.5


class StopRequests:
    """Who asked which of the runs to stop.

    A signal alone stops all of them; when a request for some of them lies in their events, it only announces that.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = {run.id: run for run in runs}
        self._sizes: dict[str, int] = {}
        self._asked: dict[str, str] = {}
        self._signalled: set[str] = set()
        self._signal: str | None = None
        self._polled_at = float("-inf")

    def install(self) -> None:
        """Handle SIGTERM, SIGINT and SIGHUP (a closed terminal) as requests; main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.on_signal)
        unblock_signals()

    def on_signal(self, number: int, frame: FrameType | None = None) -> None:
        """Remember it; the loop looks between two steps."""
        self._signal = f"a signal ({signal.Signals(number).name})"

    def asked_by(self, run: Run) -> str | None:
        """Who asked this run to stop; cheap enough for every training step."""
        now = time.monotonic()
        if self._signal or now - self._polled_at >= POLL_S:
            self._polled_at = now
            self._poll()
        return self._asked.get(run.id)

    def was_signalled(self, run: Run) -> bool:
        """True when only a signal asked the run to stop, and no person."""
        return run.id in self._signalled

    def _poll(self) -> None:
        for run in self._runs.values():
            try:
                size = run.events_path.stat().st_size
            except OSError:
                continue
            if size != self._sizes.get(run.id):
                self._sizes[run.id] = size
                by = pending_stop(run)
                if by:
                    self._asked[run.id] = by
                    self._signalled.discard(run.id)
        if self._signal:
            by, self._signal = self._signal, None
            if not self._asked.keys() & self._runs.keys():
                self._asked.update(dict.fromkeys(self._runs, by))
                self._signalled.update(self._runs)


def unblock_signals() -> None:
    """Let through what the launcher held back until handlers stood."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
