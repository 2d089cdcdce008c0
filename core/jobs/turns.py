"""Whose turn it is: the rows of a queue in the order that this site wants, and what that order says of a run."""

from __future__ import annotations

from collections.abc import Sequence

from core.config.site import SiteSettings
from core.jobs.queue import Queue
from core.jobs.queue_entry import Standing
from core.jobs.queue_rows import Job, JobState
from core.jobs.shares import DAY_S, WEEK_DAYS, in_turn, share_of_week, used_s, uses_in
from core.words import counted

FAIR = "fair"
HALF_LIVES = 10  # what ended earlier counts for less than a thousandth of itself, and is not read


def turns(queue: Queue, site: SiteSettings, jobs: Sequence[Job]) -> list[Job]:
    """Those of `jobs` that wait or are held back, in the order of their turn. jobs: with the live ones."""
    now = queue.clock()
    used = None
    if site.queue_order == FAIR and any(job.state is not JobState.LIVE for job in jobs):
        since = now - HALF_LIVES * site.share_half_life_days * DAY_S
        uses = uses_in(queue.uses(since), jobs, now, site.account_of)
        used = used_s(uses, now, site.share_half_life_days)
    return in_turn(jobs, used, now, person=site.account_of)


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
