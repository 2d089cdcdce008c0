"""How busy the processor is: measured over a real interval, the same for whoever asks meanwhile.

`psutil.cpu_percent(None)` keeps its last look per thread, so a new thread reads 0, and two looks in a row measure
milliseconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

INTERVAL_S = 1.0
FIRST_S = 0.2
Reading = tuple[float, float]


def cpu_seconds() -> Reading:
    """(seconds in which cores worked, seconds in all) since the machine started, summed over all cores."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)  # in user and nice already
    return total - idle, total


class CpuLoad:
    """The share of all cores that is busy, 0 to 1. read: see `cpu_seconds`; clock: seconds; wait: sleeps seconds."""

    def __init__(
        self,
        read: Callable[[], Reading] = cpu_seconds,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._read, self._clock, self._wait = read, clock, wait
        self._lock = threading.Lock()
        self._at, self._before, self._share = 0.0, (0.0, 0.0), -1.0

    def now(self) -> float:
        """Since the last look, or that look's own where it is younger than INTERVAL_S; the first takes FIRST_S."""
        with self._lock:
            if self._share < 0:
                self._before, self._share = self._read(), 0.0
                self._wait(FIRST_S)
            elif self._clock() - self._at < INTERVAL_S:
                return self._share
            (busy, total), (busy_before, total_before) = self._read(), self._before
            if total > total_before:
                self._share = min(1.0, max(0.0, (busy - busy_before) / (total - total_before)))
            self._at, self._before = self._clock(), (busy, total)
            return self._share


cpu_load = CpuLoad()


def processor_name() -> str:
    """The processor's name as Linux tells it; '' where nobody does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(filter(None, names), "")[:100]
