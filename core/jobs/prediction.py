"""How long runs take, by what runs like them took here: for the expected starts, and for who is short."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path

from core.errors import LabError
from core.jobs.job_row import signature_of, work_of
from core.jobs.queue import Job, Queue
from core.runs.run import Run
from core.runs.store import RunStore

KEPT_S = 5.0  # a speed that was just asked for


class Predictions:
    """Of the runs of one folder. Reads their settings and what the queue remembers of speeds."""

    def __init__(self, store: RunStore, queue: Queue) -> None:
        self.store, self.queue = store, queue
        self.speeds: dict[str, tuple[float, float | None]] = {}

    def left_s(self, job: Job) -> float | None:
        """Seconds that are left of a run that does not live, from its next start; None where nothing like it ran here.

        At most its time limit, which ends it: unless it is queued again then.
        """
        run = Run(self.store.root / job.run_id)
        limit = None if job.request.requeue else job.request.time_limit_s
        try:
            signature, work = _plan_of(run.folder, run.config_path.stat().st_mtime_ns)
        except (LabError, OSError):
            return limit
        speed = self._speed(signature)
        if speed is None:
            return limit
        status = run.status()
        left = 1.0 - status.step / status.steps_total if status.steps_total else 1.0
        seconds = speed * work * max(0.0, left)
        return seconds if limit is None else min(seconds, limit)

    def _speed(self, signature: str) -> float | None:
        at, speed = self.speeds.get(signature, (float("-inf"), None))
        if time.monotonic() - at > KEPT_S:
            speed = self.queue.seconds_per_step(signature)
            self.speeds[signature] = (time.monotonic(), speed)
        return speed


@lru_cache(maxsize=1024)
def _plan_of(folder: Path, changed_ns: int) -> tuple[str, int]:
    """(signature, work) of a run; its frozen settings cost milliseconds to read. changed_ns: of its config.yaml."""
    run = Run(folder)
    return signature_of(run), work_of(run)
