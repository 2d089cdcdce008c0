"""Whose turn it is: the rows of a queue in the order that this site wants, and what that order says of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from core.config.site import SiteSettings
from core.jobs.preemption import is_in_use, short_ones
from core.jobs.queue import Queue
from core.jobs.queue_entry import Standing
from core.jobs.queue_rows import Job, JobState
from core.jobs.shares import DAY_S, WEEK_DAYS, charged_s, in_turn, share_of_week, used_s, uses_in
from core.words import counted

FAIR = "fair"
HALF_LIVES = 10  # what ended earlier counts for less than a thousandth of itself, and is not read


@dataclass(frozen=True, kw_only=True)
class Turns:
    """order: those that wait or are held back, in the order of their turn. used: slot-seconds by person as that order
    charges them; None where shares decide nothing. short: run → predicted seconds, of those that go first."""

    order: list[Job]
    used: Mapping[str, float] | None
    short: Mapping[str, float]


def turns(
    queue: Queue, site: SiteSettings, jobs: Sequence[Job], left_s: Callable[[Job], float | None] = lambda job: None
) -> Turns:
    """Whose turn it is. jobs: with the live ones. left_s: predicted seconds of a run that waits."""
    now, person = queue.clock(), site.account_of
    is_fair, used = site.queue_order == FAIR, None
    interrupts = is_in_use(jobs, site.preemptible)
    if (is_fair or interrupts) and any(job.state is not JobState.LIVE for job in jobs):
        since = now - HALF_LIVES * site.share_half_life_days * DAY_S
        uses = uses_in(queue.uses(since), jobs, now, person)
        used = charged_s(used_s(uses, now, site.share_half_life_days), jobs, now, person)
    short = short_ones(jobs, used or {}, left_s, person=person) if interrupts else {}
    used = used if is_fair else None
    return Turns(order=in_turn(jobs, used, now, person=person, first=short), used=used, short=short)


def standings(queue: Queue, site: SiteSettings, jobs: Sequence[Job]) -> dict[str, Standing]:
    """Run → how it stands, for those behind whom the shares alone put runs of others; none while order is by arrival.

    jobs: as they go, live ones included.
    """
    if site.queue_order != FAIR:
        return {}
    now = queue.clock()
    uses = uses_in(queue.uses(now - WEEK_DAYS * DAY_S), jobs, now, site.account_of)
    waiting = [job for job in jobs if job.state is JobState.QUEUED and job.request.starts_s <= now]
    found = {}
    for place, job in enumerate(waiting):
        owner = site.account_of(job.owner)
        before = [other for other in waiting[:place] if site.account_of(other.owner) != owner]
        share = share_of_week(uses, owner, now)
        if share is not None and any(other.place > job.place and other.priority == job.priority for other in before):
            found[job.run_id] = Standing(share=share, behind=len(before))
    return found


def standing_in_words(standing: Standing | None, owner: str, reader: str) -> str:
    """'61 % of the last 7 days was yours: this run waits for 2 runs of others'; '' where the shares change nothing."""
    if standing is None:
        return ""
    whose = "yours" if owner == reader else f"{owner or 'somebody'}'s"
    share = f"{100 * standing.share:.0f} % of the last {WEEK_DAYS} days was {whose}"
    return f"{share}: this run waits for {counted(standing.behind, 'run')} of others"
