"""Which live run makes room for one that waits, and why: decided from rows, for the supervisor and for simulations.

Two kinds of waiting runs interrupt others: short ones, and those of a person who used less of the machine lately and
holds less of it now. What is interrupted is saved, waits, and continues by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from core.jobs.queue_rows import Job, JobState
from core.jobs.request import SHORT_S
from core.jobs.slots import Choice
from core.words import duration

NEARLY_DONE_S = 60.0  # so little is left of a run that it is waited for


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """A live run as the decision sees it. may_be_interrupted: it is preemptible, trains by now, and keeps what it did.

    is_ending: it was asked to stop, by whomever. interrupted_at: when it last made room, seconds since 1970, 0 for
    never. left_s: predicted seconds until its end; None where nobody knows.
    """

    job: Job
    may_be_interrupted: bool
    is_ending: bool = False
    interrupted_at: float = 0.0
    left_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Interruption:
    """`job` makes room for `waiting`; why: in words, of the latter."""

    job: Job
    waiting: Job
    why: str


# (run, taken slots, reserved devices, live runs that are taken for gone) → what it would get
Start = Callable[[Job, Collection[str], Collection[str], Collection[str]], Choice]


def is_preemptible(job: Job, usually: bool) -> bool:
    """Whether the run may be interrupted. usually: `site.preemptible`."""
    return usually if job.request.preemptible is None else job.request.preemptible


def is_in_use(jobs: Sequence[Job], usually: bool) -> bool:
    """Whether any of these runs may be interrupted: else the order of the queue is what it is without all this."""
    return any(is_preemptible(job, usually) for job in jobs)


def short_ones(
    jobs: Sequence[Job],
    used: Mapping[str, float],
    takes_s: Callable[[Job], float | None],
    *,
    person: Callable[[str], str] = str,
) -> dict[str, float]:
    """Run → predicted seconds, of those that wait and are short: they go first within their priority.

    Not those of a person who had more than half of the machine lately while others have runs here: whoever cuts long
    work into short pieces gains nothing.
    """
    total, persons = sum(used.values()), {person(job.owner) for job in jobs}
    found = {}
    for job in jobs:
        had_most = len(persons) > 1 and used.get(person(job.owner), 0.0) > total / 2
        seconds = None if had_most or job.state is not JobState.QUEUED else takes_s(job)
        if seconds is not None and seconds < SHORT_S:
            found[job.run_id] = seconds
    return found


def plan(
    waiting: Sequence[Job],
    live: Sequence[LiveRun],
    start: Start,
    *,
    used: Mapping[str, float] | None,
    short: Mapping[str, float],
    now: float,
    every_s: float,
    person: Callable[[str], str] = str,
) -> list[Interruption]:
    """Who makes room for whom now. waiting: those that may start, in the order of their turn.

    used: slot-seconds by person, as the order of the queue charges them; None: shares decide nothing. short: of
    `short_ones`. every_s: no run is interrupted again sooner. A run that ends anyway makes room without being asked.
    """
    staying = {each.job.run_id: each for each in live if not each.is_ending}
    gone = {each.job.run_id for each in live if each.is_ending}
    taken = {slot for each in staying.values() for slot in each.job.slots}
    held = Counter(person(each.job.owner) for each in staying.values() for _ in each.job.slots)
    reserved: set[str] = set()
    found = []
    for job in waiting:
        choice = start(job, taken, reserved, gone)
        if not choice.slots:
            for victim, why in _ranked(job, staying, held, used, short, now - every_s, every_s, person):
                choice = start(job, taken - set(victim.slots), reserved, gone | {victim.run_id})
                if choice.slots:
                    found.append(Interruption(job=victim, waiting=job, why=why))
                    gone.add(victim.run_id)
                    del staying[victim.run_id]
                    taken -= set(victim.slots)
                    held[person(victim.owner)] -= len(victim.slots)
                    break
        taken |= set(choice.slots)
        held[person(job.owner)] += len(choice.slots)
        if not choice.slots:
            reserved |= choice.keeps
    return found


def _ranked(
    job: Job,
    live: Mapping[str, LiveRun],
    held: Counter[str],
    used: Mapping[str, float] | None,
    short: Mapping[str, float],
    before: float,
    margin_s: float,
    person: Callable[[str], str],
) -> list[tuple[Job, str]]:
    """The live runs that this one may interrupt, the best first, each with the reason.

    held: slots by person. before: none that made room later. margin_s: of use, that is still about equal.
    """
    charged, whose, takes_s = used or {}, person(job.owner), short.get(job.run_id)
    found = []
    for each in live.values():
        other, theirs = each.job, person(each.job.owner)
        if not each.may_be_interrupted or each.interrupted_at > before or other.priority > job.priority:
            continue
        if each.left_s is not None and each.left_s <= NEARLY_DONE_S + (takes_s or 0.0):
            continue
        uses_less = charged.get(whose, 0.0) + margin_s < charged.get(theirs, 0.0)
        holds_less = held[whose] + job.num_processes <= held[theirs]
        if takes_s is not None:
            why = f"a short run, about {duration(takes_s)}"
        elif used is not None and whose != theirs and uses_less and holds_less:
            why = f"{job.owner or 'somebody'} used less of the machine lately"
        else:
            continue
        rank = (other.priority, -held[theirs], -charged.get(theirs, 0.0), -other.place)
        found.append((rank, other, why))
    return [(other, why) for _, other, why in sorted(found, key=lambda each: each[0])]
