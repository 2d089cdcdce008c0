"""The state that is believed: what status.json claims, checked against the processes that live now. Reads only."""

from __future__ import annotations

from dataclasses import replace

from core.jobs.stop_events import pending_stop
from core.machine.processes import boot_id, is_alive
from core.runs.listing import last_checkpoint_in_words
from core.runs.lock import is_locked
from core.runs.run import Run, RunState, Status
from core.runs.store import lock_path


def observed_status(run: Run) -> Status:
    """status.json, with an active state corrected when no living process stands behind it.

    Waiting needs no process. A run that was asked to stop shows as stopping while its process lives. What the
    supervisor makes of a process that died (queued again, interrupted, …) is written in status.json within seconds.
    """
    status = run.status()
    if not status.state.is_active or status.state is RunState.QUEUED:
        return status
    if has_process(run, status):
        return replace(status, state=RunState.STOPPING) if pending_stop(run) else status
    status = run.status()  # it may have ended between the two looks
    if not status.state.is_active or status.state is RunState.QUEUED:
        return status
    return _ended(run, status)


def has_process(run: Run, status: Status | None = None) -> bool:
    """True while a process works on the run or watches over it."""
    return is_locked(lock_path(run)) or is_alive((status or run.status()).process)


def _ended(run: Run, status: Status) -> Status:
    kept = last_checkpoint_in_words(run)
    asked_by = pending_stop(run)
    process = status.process
    if asked_by:
        state, reason = RunState.STOPPED, f"stopped by {asked_by}; {kept}"
    elif process is not None and process.boot_id != boot_id():
        state, reason = RunState.INTERRUPTED, f"the machine was restarted; {kept}"
    else:
        who = f"its process (pid {process.pid})" if process else "its process"
        state, reason = RunState.INTERRUPTED, f"{who} is gone; {kept}"
    return replace(status, state=state, reason=reason, stage="", eta_s=None, images_per_s=None, process=None)
