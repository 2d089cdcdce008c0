"""status.json of a run that trains nothing: what is done, what happens now, and the time that is left."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import replace

from core.runs.run import Run, RunState

STATUS_EVERY_S = 1.0
SPEED_WINDOW = 30


class JobStatus:
    """Writes the status of one attempt, at most once a second unless it is forced."""

    def __init__(self, run: Run, device: str) -> None:
        self.run, self.device = run, device
        self.elapsed_before_s = run.status().elapsed_s
        self.started = time.monotonic()
        self.written_at = -math.inf
        self.done, self.stage = run.status().step, ""  # never fewer than an earlier attempt had
        self.eta_s: float | None = None
        self.share = 0.0
        self.marks: deque[tuple[float, float]] = deque(maxlen=SPEED_WINDOW)

    def tell(self, stage: str, worked: float, all_work: float) -> None:
        """Progress in any unit: worked, and in all. The time that is left follows from the last half minute."""
        now = time.monotonic()
        if not self.marks or now - self.marks[-1][0] >= STATUS_EVERY_S:
            self.marks.append((now, worked))
            (first_at, first), (last_at, last) = self.marks[0], self.marks[-1]
            speed = (last - first) / (last_at - first_at) if last_at > first_at else 0.0
            self.eta_s = (all_work - worked) / speed if speed > 0 else None
        self.share = worked / all_work if all_work > 0 else 0.0
        self.write(self.done, stage)

    def write(self, done: int, stage: str | None = None, *, force: bool = False) -> None:
        """Replace status.json. done: steps of the run, in its kind's unit."""
        self.done, self.stage = max(done, self.done), self.stage if stage is None else stage
        now = time.monotonic()
        if not force and now - self.written_at < STATUS_EVERY_S:
            return
        self.written_at = now
        status = self.run.status()
        self.run.write_status(
            replace(
                status,
                state=RunState.RUNNING,
                step=self.done,
                stage=self.stage,
                share=self.share,
                eta_s=self.eta_s,
                elapsed_s=self.elapsed_before_s + now - self.started,
                device=self.device,
            ),
            durable=force,
        )
