"""Who used how much of the machine lately, and the order in which waiting runs go because of it.

A person's use is seconds times slots, of CPU and GPU alike, and each counts half after the site's half-life. Within a
priority the run of whoever used least goes next; a person's own runs keep their order. The order is a function of
rows and moments: supervisor and screens share it.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.jobs.queue_rows import Job, JobState
from core.values import instant

DAY_S = 86_400.0
WEEK_DAYS = 7
AT_ONCE_S = 600.0  # a run that begins counts as ten minutes, or one person would get all slots that are free at once
KEPT_DAYS = 400  # longer than the longest half-life, 90 days, needs


@dataclass(frozen=True, kw_only=True)
class Use:
    """Slots that a person's run held, from start to end in seconds since 1970."""

    owner: str
    slots: int
    start: float
    end: float


def started_s(job: Job, now: float) -> float:
    """When a live run got its slots, in seconds since 1970; `now` where the row does not say, or says a later time."""
    found = instant(job.started_at)
    return now if found is None else min(found.timestamp(), now)


def note_use(database: sqlite3.Connection, job: Job, now: float) -> None:
    """In the transaction that ends a live attempt: its use."""
    start = started_s(job, now)
    if job.slots and now > start:
        values = (job.owner, len(job.slots), start, now)
        database.execute("insert into uses(owner, slots, started_s, ended_s) values(?, ?, ?, ?)", values)
        database.execute("delete from uses where ended_s < ?", (now - KEPT_DAYS * DAY_S,))


def uses_in(rows: Iterable[sqlite3.Row], jobs: Iterable[Job], now: float, person: Callable[[str], str]) -> list[Use]:
    """The uses of the table, and of live runs until now; each as that of the person whom an owner's name stands for."""
    found = []
    for row in rows:
        values = (row["slots"], row["started_s"], row["ended_s"])
        if all(isinstance(value, int | float) and math.isfinite(value) for value in values):
            slots, start, end = values
            end = min(end, now)  # the clock was put back
            if 0 < slots <= 1024 and start < end:
                found.append(Use(owner=person(str(row["owner"])), slots=int(slots), start=start, end=end))
    for job in jobs:
        if job.state is JobState.LIVE and job.slots:
            start = started_s(job, now)
            found.append(Use(owner=person(job.owner), slots=len(job.slots), start=start, end=now))
    return found


def used_s(uses: Iterable[Use], now: float, half_life_days: float) -> dict[str, float]:
    """Person → slot-seconds, each halved per half-life that has passed since: the integral of 2^(-age/half-life)."""
    half_life = half_life_days * DAY_S
    total: dict[str, float] = {}
    for use in uses:
        first, last = (math.exp2(-(now - moment) / half_life) for moment in (use.start, use.end))
        total[use.owner] = total.get(use.owner, 0.0) + use.slots * (last - first) * half_life / math.log(2)
    return total


def share_of_week(uses: Iterable[Use], owner: str, now: float) -> float | None:
    """The person's part, 0 to 1, of all slot-seconds of the last 7 days; None where there were none."""
    since, mine, everyone = now - WEEK_DAYS * DAY_S, 0.0, 0.0
    for use in uses:
        seconds = use.slots * max(0.0, use.end - max(use.start, since))
        everyone += seconds
        mine += seconds if use.owner == owner else 0.0
    return mine / everyone if everyone > 0 else None


def in_turn(
    jobs: Sequence[Job],
    used: Mapping[str, float] | None,
    now: float,
    *,
    person: Callable[[str], str] = str,
    first: Collection[str] = (),
) -> list[Job]:
    """Those that wait or are held back, in the order of their turn; at the end those that may not start yet.

    used: of `charged_s`; None: first come, first served. first: runs that go first within their priority.
    """
    waiting = [job for job in jobs if job.state is not JobState.LIVE]
    waiting.sort(key=lambda job: (-job.priority, job.run_id not in first, job.place))
    later = sorted((job for job in waiting if job.request.starts_s > now), key=lambda job: job.request.starts_s)
    waiting = [job for job in waiting if job.request.starts_s <= now]
    if used is None:
        return waiting + later
    charged, found = dict(used), []
    for group in dict.fromkeys((job.priority, job.run_id in first) for job in waiting):
        found += _merged([job for job in waiting if (job.priority, job.run_id in first) == group], charged, person)
    return found + later


def charged_s(
    used: Mapping[str, float], jobs: Iterable[Job], now: float, person: Callable[[str], str] = str
) -> dict[str, float]:
    """`used_s` with each run that has just begun counted as ten minutes."""
    charged = dict(used)
    for job in jobs:
        if job.state is JobState.LIVE:
            missing = AT_ONCE_S - (now - started_s(job, now))
            charged[person(job.owner)] = charged.get(person(job.owner), 0.0) + len(job.slots) * max(0.0, missing)
    return charged


def _merged(group: Sequence[Job], charged: dict[str, float], person: Callable[[str], str]) -> list[Job]:
    """The queues of the persons as one: who used least is next, and each run counts as soon as it is placed."""
    queues: dict[str, list[Job]] = {}
    for job in group:
        queues.setdefault(person(job.owner), []).append(job)
    found = []
    while queues:
        owner = min(queues, key=lambda name: (charged.get(name, 0.0), queues[name][0].place))
        job = queues[owner].pop(0)
        found.append(job)
        if job.state is JobState.QUEUED:
            charged[owner] = charged.get(owner, 0.0) + AT_ONCE_S * job.num_processes
        if not queues[owner]:
            del queues[owner]
    return found
