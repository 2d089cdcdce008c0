"""What happened to runs since somebody looked last: ended, or began to diverge. Plain records, no screen."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import streamlit as st

from core.jobs.housekeeping import DIVERGING
from core.reading import Stamp, stamp_of
from core.runs.run import Run
from core.values import age_s
from core.words import count, duration
from lab.services.runs import RunView

FRESH_S = 60.0
VISIT_GAP_S = 1800
ENDINGS = {
    "finished": "finished",
    "failed": "failed",
    "stopped": "stopped",
    "interrupted": "was interrupted",
}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was known of a run at the last look."""

    active: bool
    diverging: bool


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One thing to tell. tag: the same for the same event, whoever tells it. bad: it wants somebody's attention."""

    tag: str
    run_id: str
    title: str
    words: str
    bad: bool


def look(views: Sequence[RunView], ending: Collection[str] = frozenset()) -> dict[str, Seen]:
    """What is known of the runs now. ending: ids of runs whose process is not seen to be gone."""
    return {
        view.id: Seen(active=view.is_active or view.id in ending, diverging=view.is_active and diverges(view.run))
        for view in views
    }


def happened(
    before: Mapping[str, Seen],
    views: Sequence[RunView],
    ending: Collection[str] = frozenset(),
    now: datetime | None = None,
) -> list[Notice]:
    """What ended or began to diverge since `before`, oldest run first; what is still `ending` has not ended.

    A run that was not known yet and is over is told when it ended within the last minute: it was quick.
    """
    notices = []
    for view in reversed(views):
        known = before.get(view.id)
        ended = known.active if known else _is_fresh(view.status.heartbeat_at, now)
        if view.id in ending:
            continue
        if not view.is_active and ended:
            notices.append(_ending(view))
        elif view.is_active and not (known and known.diverging) and diverges(view.run):
            words = f"{view.title} diverges: a value was not a number near step {count(view.status.step)}"
            notices.append(Notice(tag=f"{view.id}-diverging", run_id=view.id, title=view.title, words=words, bad=True))
    return notices


def _ending(view: RunView) -> Notice:
    status = view.status
    words = f"{view.title} {ENDINGS.get(view.state, view.state)}"
    if view.state == "finished":
        words += f" after {duration(status.elapsed_s)}" + (" of training" if view.run.kind.trains else "")
    elif view.state == "stopped" and status.reason:  # 'stopped by ana …', 'paused by ana …'
        words = f"{view.title}: {status.reason}"
    elif status.reason:
        words += f": {status.reason}"
    tag = f"{view.id}-{view.state}-{status.step}"
    bad = view.state in ("failed", "interrupted")
    return Notice(tag=tag, run_id=view.id, title=view.title, words=words, bad=bad)


def diverges(run: Run) -> bool:
    """True when a value of the present attempt was not a number."""
    stamp = stamp_of(run.events_path)
    return any(stamp) and _diverges(run.events_path, stamp, run)


@st.cache_data(max_entries=256, show_spinner=False)
def _diverges(path: Path, stamp: Stamp, _run: Run) -> bool:
    for event in reversed(_run.events()):
        if event.get("event") == DIVERGING:
            return True
        if event.get("event") in ("started", "resumed"):
            return False
    return False


def since_last_visit(cookie: str, now_s: float) -> float:
    """When the visit before this one ended, in seconds since 1970; 0.0 when there was none.

    cookie: '<end of the visit before>~<last sign of life>'. Half an hour without a sign makes a new visit.
    """
    before, _, last = cookie.partition("~")
    try:
        before_s, last_s = float(before), float(last)
    except ValueError:
        return 0.0
    if not 0 <= before_s <= last_s <= now_s:
        return 0.0
    return last_s if now_s - last_s > VISIT_GAP_S else before_s


def _is_fresh(iso: str, now: datetime | None) -> bool:
    seconds = age_s(iso, now)
    return seconds is not None and seconds < FRESH_S
