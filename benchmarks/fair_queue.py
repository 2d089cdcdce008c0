"""Five people on four pretended GPUs, one of them greedy: `python -m benchmarks.fair_queue [--seeds 5] [--runs 200]`

The queue, its order and who is interrupted are the product's own code and rows; GPUs, clock and trainings are
pretended. Three ways of the same arrivals: runs that may be interrupted, shares alone, and first come, first served.
Slowdown: from arrival to end over what the run takes alone. Results: benchmarks/results/fair-queue-<date>.json.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.report import keep
from core.config.site import SiteSettings
from core.jobs.preemption import LiveRun, plan
from core.jobs.queue import Job, JobState, Queue
from core.jobs.request import SHORT_S
from core.jobs.slots import Choice, Device, choose
from core.jobs.turns import turns

GPUS = 4
PEOPLE = ("ana", "ben", "cleo", "dan", "gil")
GREEDY = "gil"
HOURS = 48.0  # over which the others' runs arrive; the greedy one's come in the first half
BEGIN_S, SAVE_S = 15.0, 5.0  # to load a training, and to save it: pretended
LOOK_EVERY_S = 60.0  # at a queue to which nothing happens; the supervisor looks four times a second
ERROR = 0.2  # standard deviation of the logarithm of predicted over true times
BEGIN = 1.8e9
WAYS: dict[str, dict[str, Any]] = {
    "interrupted": {"preemptible": True},
    "shares": {},
    "first come": {"queue_order": "first_come"},
}


@dataclass(kw_only=True)
class PretendedRun:
    """One run and its fate. Moments in seconds of the pretended clock."""

    run_id: str
    owner: str
    arrives: float
    takes_s: float
    error: float
    done_s: float = 0.0
    first_start: float = -1.0
    ends: float = -1.0
    started: float = 0.0
    attempt: int = 0
    saved_at: float | None = None  # when it has saved to make room
    asked_at: float = 0.0
    interruptions: int = 0
    slots: tuple[str, ...] = ()

    @property
    def is_short(self) -> bool:
        """Whether it is one that people call short."""
        return self.takes_s + BEGIN_S < SHORT_S * 0.8

    def ends_at(self) -> float:
        """When its attempt is over: done, or saved."""
        done = self.started + BEGIN_S + self.takes_s - self.done_s
        return done if self.saved_at is None else min(done, self.saved_at)


@dataclass(kw_only=True)
class Clock:
    """Seconds since 1970, pretended."""

    now: float = BEGIN

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self.now


@dataclass(kw_only=True)
class Outcome:
    """What one way made of the arrivals."""

    runs: list[PretendedRun]
    decisions: int = 0
    decided_s: float = 0.0
    by_person: Mapping[str, float] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """Of one seed: what the table shows."""
        slowdowns: dict[str, list[float]] = defaultdict(list)
        for run in self.runs:
            slowdowns[run.owner].append((run.ends - run.arrives) / (run.takes_s + BEGIN_S))
        means = {person: statistics.mean(values) for person, values in sorted(slowdowns.items())}
        waits = [run.first_start - run.arrives for run in self.runs if run.is_short and run.owner != GREEDY]
        busy = sum(run.takes_s + BEGIN_S for run in self.runs)
        count = sum(run.interruptions for run in self.runs)
        others = {person: mean for person, mean in means.items() if person != GREEDY}
        return {
            "mean_slowdown": {person: round(mean, 2) for person, mean in means.items()},
            "worst_over_median": round(max(others.values()) / statistics.median(means.values()), 3),
            "short_runs": len(waits),
            "short_within_60_s": sum(wait <= 60.0 for wait in waits),
            "longest_wait_of_a_short_run_s": round(max(waits), 1),
            "interruptions": count,
            "most_of_one_run": max(run.interruptions for run in self.runs),
            "overhead": round(count * (BEGIN_S + SAVE_S) / (busy + count * (BEGIN_S + SAVE_S)), 4),
            "ms_per_decision": round(1000 * self.decided_s / max(1, self.decisions), 2),
            "all_done_after_h": round((max(run.ends for run in self.runs) - BEGIN) / 3600, 1),
        }


def arrivals(seed: int, count: int) -> list[PretendedRun]:
    """40 % of the runs are the greedy one's, one to four hours each; of the others' 40 % are short, the rest 10 min to
    1 h 15 min."""
    chance = random.Random(seed)
    found = []
    for number in range(count):
        owner = GREEDY if number % 5 < 2 else PEOPLE[number % 4]
        if owner == GREEDY:
            arrives, takes_s = chance.uniform(0, HOURS / 2), chance.uniform(3600, 4 * 3600)
        else:
            arrives = chance.uniform(0, HOURS)
            takes_s = chance.uniform(30, 200) if chance.random() < 0.4 else chance.uniform(600, 4500)
        error = chance.lognormvariate(0.0, ERROR)
        name = f"{owner}-{number:03d}"
        run = PretendedRun(run_id=name, owner=owner, arrives=BEGIN + 3600 * arrives, takes_s=takes_s, error=error)
        found.append(run)
    return sorted(found, key=lambda run: run.arrives)


class Simulation:
    """One machine under one way of ordering its queue."""

    def __init__(self, folder: Path, runs: Sequence[PretendedRun], site: SiteSettings) -> None:
        self.clock, self.site = Clock(), site
        self.queue = Queue(folder, self.clock)
        self.coming, self.runs = list(runs), {run.run_id: run for run in runs}
        self.devices = [Device(name=f"GPU-{n}", title=f"GPU {n}", visible=str(n), capacity=1) for n in range(GPUS)]
        self.outcome = Outcome(runs=list(runs))

    def play(self) -> Outcome:
        """From the first arrival to the last end."""
        while self.coming or any(run.ends < 0 for run in self.runs.values()):
            self.clock.now = self._next()
            while self.coming and self.coming[0].arrives <= self.clock.now:
                run = self.coming.pop(0)
                assert self.queue.put(Job(run_id=run.run_id, owner=run.owner, device="auto"))
            for run in [run for run in self.runs.values() if run.slots and run.ends_at() <= self.clock.now]:
                self._end(run)
            began = time.perf_counter()
            while self._decide():
                pass
            self.outcome.decided_s += time.perf_counter() - began
        self.queue.close()
        return self.outcome

    def _next(self) -> float:
        moments = [run.ends_at() for run in self.runs.values() if run.slots]
        if self.coming:
            moments.append(self.coming[0].arrives)
        if self.queue.jobs(JobState.QUEUED):
            moments.append(self.clock.now + LOOK_EVERY_S)
        return max(self.clock.now, min(moments))

    def _end(self, run: PretendedRun) -> None:
        is_done = run.saved_at is None or run.started + BEGIN_S + run.takes_s - run.done_s <= run.saved_at
        if is_done:
            run.ends = self.clock.now
        elif run.saved_at is not None:
            run.done_s += max(0.0, run.saved_at - SAVE_S - run.started - BEGIN_S)
        assert self.queue.release(run.run_id, run.attempt, JobState.ENDED if is_done else JobState.QUEUED)
        run.slots, run.saved_at = (), None

    def _decide(self) -> bool:
        """One look of a supervisor; whether it started a run."""
        self.outcome.decisions += 1
        jobs, now = self.queue.jobs(), self.clock.now
        turn = turns(self.queue, self.site, jobs, self._predicted)
        taken, reserved, started = set(self.queue.leases()), set[str](), False
        for job in turn.order:
            choice = choose(job.device, job.num_processes, self.devices, taken, reserved)
            if not choice.slots:
                reserved |= choice.keeps
                continue
            attempt = self.queue.claim(job.run_id, choice.slots)
            assert attempt is not None
            run = self.runs[job.run_id]
            run.attempt, run.slots, run.started = attempt, choice.slots, now
            run.first_start = now if run.first_start < 0 else run.first_start
            taken |= set(choice.slots)
            started = True
        if started or not self.site.preemptible:
            return started
        found = plan(
            turn.order,
            [self._seen(job) for job in jobs if job.state is JobState.LIVE],
            self._start,
            used=turn.used,
            short=turn.short,
            now=now,
            every_s=60 * self.site.preempt_every_minutes,
        )
        for each in found:
            run = self.runs[each.job.run_id]
            run.saved_at, run.asked_at, run.interruptions = now + SAVE_S, now, run.interruptions + 1
        return False

    def _start(self, job: Job, taken: Collection[str], reserved: Collection[str], gone: Collection[str]) -> Choice:
        return choose(job.device, job.num_processes, self.devices, taken, reserved)

    def _seen(self, job: Job) -> LiveRun:
        run = self.runs[job.run_id]
        trains = self.clock.now >= run.started + BEGIN_S
        left = run.started + BEGIN_S + run.takes_s - run.done_s - self.clock.now
        return LiveRun(
            job=job,
            may_be_interrupted=trains,
            is_ending=run.saved_at is not None,
            interrupted_at=run.asked_at,
            left_s=left * run.error,
        )

    def _predicted(self, job: Job) -> float:
        run = self.runs[job.run_id]
        return (run.takes_s - run.done_s) * run.error


def simulate(seed: int, count: int, way: str) -> Outcome:
    """The arrivals of a seed in one way."""
    with tempfile.TemporaryDirectory(prefix="fair-queue-") as folder:
        return Simulation(Path(folder), arrivals(seed, count), SiteSettings(**WAYS[way])).play()


def main() -> None:
    """Play, print a table, keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args()
    found: dict[str, Any] = {way: [] for way in WAYS}
    for seed in range(arguments.seeds):
        for way, figures in found.items():
            figures.append({"seed": seed, **simulate(seed, arguments.runs, way).figures()})
            print(way, figures[-1], flush=True)
    assumed = {"begin_s": BEGIN_S, "save_s": SAVE_S, "error": ERROR, "gpus": GPUS, "hours": HOURS}
    keep("fair-queue", {"runs": arguments.runs, "assumed": assumed, "ways": found})


if __name__ == "__main__":
    main()
