"""What people asked of a run, as events.jsonl tells it: the way a stop reaches a worker even without a signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.runs.run import Run

STOP_REQUESTED = "stop requested"
PAUSE_REQUESTED = "pause requested"
KILL_REQUESTED = "kill requested"
RESUME_REQUESTED = "resume requested"
_STOPS = (STOP_REQUESTED, PAUSE_REQUESTED, KILL_REQUESTED)


def pending_stop(run: Run) -> str | None:
    """Who asked this run to stop since it was last created or resumed; None when nobody did."""
    request = last_stop(run)
    return None if request is None else str(request.get("by") or "someone")


def last_stop(run: Run) -> Mapping[str, Any] | None:
    """The newest request to stop, pause or kill since the run was created or last resumed; None when there is none."""
    found: Mapping[str, Any] | None = None
    for event in run.events():
        kind = event.get("event")
        if kind in ("created", RESUME_REQUESTED):
            found = None
        elif kind in _STOPS:
            found = event
    return found
