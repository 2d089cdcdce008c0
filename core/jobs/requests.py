"""What people asked of a run, as events.jsonl tells it: the way a stop reaches a worker even without a signal."""

from __future__ import annotations

from core.runs.run import Run

STOP_REQUESTED = "stop requested"
KILL_REQUESTED = "kill requested"
RESUME_REQUESTED = "resume requested"


def pending_stop(run: Run) -> str | None:
    """Who asked this run to stop since it was last created or resumed; None when nobody did."""
    asked_by: str | None = None
    for event in run.events():
        kind = event.get("event")
        if kind in ("created", RESUME_REQUESTED):
            asked_by = None
        elif kind in (STOP_REQUESTED, KILL_REQUESTED):
            asked_by = str(event.get("by") or "someone")
    return asked_by
