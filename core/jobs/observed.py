"""The state that is believed: what status.json claims, checked against the processes that live now."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from core import atomic
from core.jobs.processes import boot_id, is_alive
from core.jobs.requests import pending_stop
from core.runs.listing import last_checkpoint_in_words
from core.runs.lock import is_locked, try_lock
from core.runs.run import ProcessIdentity, Run, RunState, Status, now_iso
from core.runs.store import lock_path

LAUNCH_GRACE_S = 10.0


def observed_status(run: Run) -> Status:
    """status.json, with an active state corrected when no living process stands behind it.

    A run that was asked to stop shows as stopping while its process lives. Reads only; see `settle`.
    """
    status = run.status()
    if not status.state.is_active:
        return status
    if has_process(run, status):
        return replace(status, state=RunState.STOPPING) if pending_stop(run) else status
    status = run.status()  # it may have ended between the two looks
    if not status.state.is_active or (status.process is None and job_process(run) is None and _is_fresh(status)):
        return status
    return _ended(run, status)


def has_process(run: Run, status: Status | None = None) -> bool:
    """True while a process works on the run or has it in its queue."""
    status = status or run.status()
    return is_locked(lock_path(run)) or is_alive(status.process) or is_alive(job_process(run))


def settle(run: Run) -> Status:
    """Write down what `observed_status` sees, when the worker died before it could. Safe to call at any time."""
    status = observed_status(run)
    if status == run.status() or status.state.is_active:
        return status
    lock = try_lock(lock_path(run))
    if lock is None:
        return status
    try:
        status = run.status()
        if status.state.is_active:
            status = _ended(run, status)
            run.write_status(status)
            run.add_event(str(status.state), reason=status.reason)
    finally:
        lock.release()
    return status


def write_job(run: Run, run_ids: tuple[str, ...], process: ProcessIdentity) -> None:
    """job.json: which process was started for the run, and for which runs beside it."""
    value = {"run_ids": list(run_ids), "process": asdict(process), "started_at": now_iso()}
    atomic.write_json(run.folder / "job.json", value)


def forget_job(run: Run) -> None:
    """Remove job.json of an earlier attempt."""
    (run.folder / "job.json").unlink(missing_ok=True)


def job_process(run: Run) -> ProcessIdentity | None:
    """The process that was started for the run, alive or not."""
    try:
        return ProcessIdentity(**_read_job(run)["process"])
    except (TypeError, KeyError):
        return None


def job_run_ids(run: Run) -> tuple[str, ...]:
    """The runs that the run's process works on, in order; the run alone when unknown."""
    run_ids = _read_job(run).get("run_ids")
    return tuple(str(item) for item in run_ids) if isinstance(run_ids, list) and run_ids else (run.id,)


def _read_job(run: Run) -> dict[str, Any]:
    """job.json; empty when missing or damaged."""
    try:
        value = json.loads((run.folder / "job.json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _ended(run: Run, status: Status) -> Status:
    process = status.process or job_process(run)
    kept = last_checkpoint_in_words(run)
    asked_by = pending_stop(run)
    if asked_by:
        state, reason = RunState.STOPPED, f"stopped by {asked_by}; {kept}"
    elif process is None:
        state, reason = RunState.INTERRUPTED, f"it was never started; {kept}"
    elif process.boot_id != boot_id():
        state, reason = RunState.INTERRUPTED, f"the machine was restarted; {kept}"
    else:
        state, reason = RunState.INTERRUPTED, f"its process (pid {process.pid}) is gone; {kept}"
    return replace(status, state=state, reason=reason, stage="", eta_s=None, images_per_s=None, process=None)


def _is_fresh(status: Status) -> bool:
    """True for a few seconds after creation: its launcher is at work."""
    try:
        age = datetime.now(UTC) - datetime.fromisoformat(status.heartbeat_at)
    except (ValueError, TypeError):
        return False
    return age.total_seconds() < LAUNCH_GRACE_S
