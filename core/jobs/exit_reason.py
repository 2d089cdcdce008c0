"""How an attempt ended, in words: from what the worker wrote, what the shim saw, and what people asked for."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import LabError
from core.jobs.queue import Job, JobState
from core.machine.processes import boot_id
from core.runs.listing import kept_step, last_checkpoint_in_words, place_in_words
from core.runs.run import Run, RunState, Status

MAX_FRUITLESS = 3
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What the run is now, why, and where its job goes: ended, paused, or queued again."""

    state: RunState
    reason: str
    job: JobState
    fruitless: int = 0
    last_step: int = -1


def ending_of(run: Run, job: Job, end: Mapping[str, Any] | None) -> Ending:
    """Judge an attempt of which nothing lives. end: the shim's exit.json, None when it could not write it."""
    status = run.status()
    if status.state in (RunState.FINISHED, RunState.FAILED):
        return Ending(state=status.state, reason=status.reason, job=JobState.ENDED)
    if status.state is RunState.STOPPED:
        if job.pauses:
            place = place_in_words(run, status.step)
            reason = f"paused by {job.stop_by}{place}; {last_checkpoint_in_words(run)}"
            return Ending(state=RunState.STOPPED, reason=reason, job=JobState.PAUSED)
        return Ending(state=status.state, reason=status.reason, job=JobState.ENDED)
    if job.stop_level:
        reason = f"{_cut_off(job, end, run)}; {last_checkpoint_in_words(run)}"
        return Ending(state=RunState.STOPPED, reason=reason, job=JobState.PAUSED if job.pauses else JobState.ENDED)
    code = None if end is None else end.get("exit_code")
    rebooted = job.boot_id != boot_id()
    ended_itself = status.state is RunState.INTERRUPTED and isinstance(code, int) and code >= 0
    if ended_itself:  # a SIGTERM from outside the lab; at a shutdown everything gets one
        return _again(run, job, status.reason) if rebooted else _interrupted(status.reason)
    if status.state is RunState.INTERRUPTED:  # written by a supervisor that died before it could go on
        return _again(run, job, status.reason)
    return _died(run, job, status, end, code, rebooted=rebooted)


def _died(
    run: Run, job: Job, status: Status, end: Mapping[str, Any] | None, code: int | None, *, rebooted: bool
) -> Ending:
    """The worker died without a last word and nobody had asked it to stop."""
    kept = last_checkpoint_in_words(run)
    at = place_in_words(run, status.step) if status.step else ""
    if end is not None and end.get("problem"):
        return Ending(state=RunState.FAILED, reason=str(end["problem"]), job=JobState.ENDED)
    if rebooted:
        return _again(run, job, f"the machine was restarted{at}; {kept}")
    if end is not None and end.get("oom_kills") and code in (None, 1, -signal.SIGKILL):
        words = "the machine ran out of memory and the system killed it"
        return _again(run, job, f"{words}{at}; {kept}; a smaller batch_size or fewer runs at a time need less")
    if code is None:
        return _again(run, job, f"its process is gone{at}, and so is the one that watched it; {kept}")
    if code < 0:
        name = _signal_name(-code)
        if -code in _CRASHES:
            reason = f"its process crashed ({name}){at}; the log has the details; {kept}"
            return Ending(state=RunState.FAILED, reason=reason, job=JobState.ENDED)
        reason = f"its process was killed from outside the lab ({name}){at}; {kept}"
        return _interrupted(reason) if -code == signal.SIGTERM else _again(run, job, reason)
    if code and job.num_processes > 1:
        return _again(run, job, f"one of its {job.num_processes} processes died{at}; the log has the details; {kept}")
    reason = f"its process ended{at} (exit code {code}) without saying why; the log has the details; {kept}"
    return Ending(state=RunState.FAILED, reason=reason, job=JobState.ENDED)


def _cut_off(job: Job, end: Mapping[str, Any] | None, run: Run) -> str:
    """Why a run that was asked to stop has not said so itself."""
    if job.stop_level >= 2:
        return f"killed by {job.stop_by}"
    if end is not None and end.get("was_killed"):
        return f"killed because it did not stop within {grace_s(run):g} s of the request by {job.stop_by}"
    return f"stopped by {job.stop_by}; it ended before it could save"


def _interrupted(reason: str) -> Ending:
    return Ending(state=RunState.INTERRUPTED, reason=reason, job=JobState.ENDED)


def _again(run: Run, job: Job, reason: str) -> Ending:
    """Queued again when the settings say so and earlier resumes came further."""
    reason = reason.partition("; queued again")[0]
    try:
        wanted = run.settings.machine.auto_resume
    except LabError:
        wanted = False
    if not wanted:
        return _interrupted(reason)
    step = kept_step(run)
    fruitless = 0 if step > job.last_step else job.fruitless + 1
    if fruitless >= MAX_FRUITLESS:
        return _interrupted(f"{reason}; not queued again, because it died {MAX_FRUITLESS} times at the same checkpoint")
    return Ending(
        state=RunState.QUEUED,
        reason=f"{reason}; queued again",
        job=JobState.QUEUED,
        fruitless=fruitless,
        last_step=step,
    )


def grace_s(run: Run) -> float:
    """Seconds the run has to save itself; the default where its settings cannot be read."""
    try:
        return run.settings.machine.stop_grace_s
    except LabError:
        return 60.0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
