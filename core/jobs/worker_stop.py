"""How a worker learns that it should stop: from the run's request file, looked at often, and from signals at once."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

from core.machine import attempts
from core.machine.attempts import StopRequest
from core.runs.run import Run

POLL_S = 0.5


class StopRequests:
    """Who asked the run to stop: a person, by the request file, or only a signal from outside the lab."""

    def __init__(self, run: Run) -> None:
        self.run = run
        token = os.environ.get(attempts.TOKEN_VARIABLE, "")
        self.attempt = int(token.rpartition(".")[2]) if token else attempts.current_attempt(run.folder)
        self.signal = ""
        self.request: StopRequest | None = None
        self.polled_at = float("-inf")

    def install(self) -> None:
        """Handle SIGTERM and SIGINT as requests; main thread only. A closed terminal (SIGHUP) is none."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # the launcher held them back until handlers stood
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})

    def on_signal(self, number: int, frame: FrameType | None = None) -> None:
        """Remember it; the loop looks between two steps."""
        self.signal = f"a signal ({signal.Signals(number).name})"

    def is_asked(self) -> bool:
        """True once somebody asked the run to stop; cheap enough for every training step."""
        now = time.monotonic()
        if self.signal or now - self.polled_at >= POLL_S:
            self.polled_at = now
            self.look()
        return self.request is not None or bool(self.signal)

    def look(self) -> None:
        """Read the request now: another rank may have seen it first."""
        self.request = attempts.stop_of(self.run.folder, self.attempt)
