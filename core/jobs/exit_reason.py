"""How a run ended, in words: the one place that composes it, from what lies in the run's folder.

The worker asks when it stops, the supervisor when nothing of an attempt lives any more, whoever looks while the
supervisor has not judged yet, and whoever takes a waiting run out.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, replace

from core.errors import LabError, StorageFull
from core.jobs.request import shown_request
from core.machine import attempts
from core.machine.attempts import StopRequest, boot_id
from core.runs.listing import kept_step, last_checkpoint_in_words, place_in_words
from core.runs.run import Run, RunState, Status

MAX_FRUITLESS = 3
RELEASED = "released"  # the event that an attempt's processes and its memory on GPUs were seen to be gone
GOES_ON = "; continues by itself"
AGAIN = "; queued again"
FULL_DISK = "the disk or the quota is full"
_FREE = "free some space and resume"
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What the run is now and why. may_return: its process died of what a new attempt may survive.

    A state of QUEUED: it saved, and continues by itself.
    """

    state: RunState
    reason: str = ""
    may_return: bool = False


def settled(status: Status, state: RunState, reason: str = "") -> Status:
    """The status of a run that no process works on: its state, and nothing of what only holds while it trains."""
    return replace(status, state=state, reason=reason, stage="", share=0.0, eta_s=None, images_per_s=None, process=None)


def in_words(status: Status) -> str:
    """'stopped (stopped by ana at step 500; ...)'."""
    return f"{status.state} ({status.reason})" if status.reason else str(status.state)


def write_ending(run: Run, ending: Ending, *, step: int | None = None) -> None:
    """The run's last word, as an event and in status.json; step: None keeps what stands there.

    The state goes last: whoever sees the end sees its event too. On a full disk each is tried for itself.
    Raises OSError when one of them could not be written.
    """
    status = run.status()
    final = replace(settled(status, ending.state, ending.reason), step=status.step if step is None else step)
    last = next(iter(run.events()[-1:]), {})
    try:
        if (last.get("event"), last.get("step")) != (ending.state, final.step):  # else written before the disk was full
            run.add_event(str(ending.state), step=final.step, reason=ending.reason)
    finally:
        run.write_status(final)


def never_started(run: Run, *, by: str, pauses: bool = False) -> Ending:
    """A person took it out while it waited."""
    if pauses:
        return Ending(state=RunState.STOPPED, reason=f"paused by {by} while it waited")
    return Ending(
        state=RunState.STOPPED, reason=f"stopped by {by} before it {'went on' if run.status().step else 'began'}"
    )


def without_its_vae(vae_run_id: str, state: RunState | None) -> Ending:
    """It waited for a VAE run that will not be finished; state: None where that run was deleted."""
    words = {None: "was deleted", RunState.FAILED: "failed", RunState.STOPPED: "was stopped"}.get(state, f"is {state}")
    return Ending(state=state or RunState.FAILED, reason=f"its VAE run {vae_run_id} {words}")


def asked_to_end(run: Run, request: StopRequest | None, signal_words: str, step: int) -> Ending:
    """The worker saved and stops: a person asked, or only a signal that nobody in the lab had sent."""
    kept = last_checkpoint_in_words(run)
    if request is None:
        reason = f"ended by {signal_words} from outside the lab{place_in_words(run, step)}; {kept}"
        return Ending(state=RunState.INTERRUPTED, reason=reason)
    reason = f"{_asked_in_words(run, request)}{place_in_words(run, step)}; {kept}"
    return _returned(request, reason) if request.returns else Ending(state=RunState.STOPPED, reason=reason)


def ending_of(run: Run, attempt: int | None = None, *, words: str = "") -> Ending:
    """How an attempt ended of which nothing lives; None: the newest one.

    words: why its processes are gone, of whoever knows it for those that worked on another machine.
    """
    attempt = attempts.current_attempt(run.folder) if attempt is None else attempt
    status = run.status()
    request = attempts.stop_of(run.folder, attempt)
    returns = request is not None and request.returns
    is_stopped = status.state is RunState.STOPPED and not returns  # workers of before 0.3 say so of one that returns
    if status.state in (RunState.FINISHED, RunState.FAILED) or is_stopped:
        return Ending(state=status.state, reason=status.reason)
    end = attempts.read_file(run.folder, attempts.EXIT_FILE, attempt)
    kept = last_checkpoint_in_words(run)
    if request is not None:
        has_saved = status.state is RunState.QUEUED  # it had ended when a person asked as well
        if has_saved and not returns:
            return never_started(run, by=request.by, pauses=request.pauses)
        was_killed = end is not None and bool(end.get("was_killed"))
        reason = (
            status.reason
            if has_saved or status.state is RunState.STOPPED
            else f"{_cut_off(run, request, was_killed)}; {kept}"
        )
        return _returned(request, reason) if returns else Ending(state=RunState.STOPPED, reason=reason)
    code = None if end is None else end.get("exit_code")
    at = place_in_words(run, status.step) if status.step else ""
    if code == StorageFull.exit_code:  # it could not even say so itself
        return Ending(state=RunState.FAILED, reason=f"{FULL_DISK}{at}; {kept}; {_FREE}")
    started = attempts.read_file(run.folder, attempts.ATTEMPT_FILE, attempt) or {}
    booted = started.get("boot_id") or (status.process.boot_id if status.process else boot_id())
    rebooted = not words and booted != boot_id()
    if end is None and not rebooted and attempts.is_copy(run.folder):
        reason = f"this folder was copied while it trained{at}; {kept}; resume continues it in this lab"
        return Ending(state=RunState.INTERRUPTED, reason=reason)
    if status.state is RunState.INTERRUPTED:  # its own word: a SIGTERM from outside; at a shutdown everything gets one
        if isinstance(code, int) and code < 0 and code != -signal.SIGTERM and _num_processes(run, status) != 1:
            return _died(f"the process that launched it was killed ({_signal_name(-code)}){at}; {kept}")
        ended_itself = isinstance(code, int) and code >= 0
        return Ending(state=status.state, reason=status.reason, may_return=rebooted or not ended_itself)
    if end is not None and end.get("problem"):
        return Ending(state=RunState.FAILED, reason=str(end["problem"]))
    if rebooted:
        return _died(f"the machine was restarted{at}; {kept}")
    if end is not None and end.get("oom_kills") and code in (None, 1, -signal.SIGKILL):
        words = "the machine ran out of memory and the system killed it"
        return _died(f"{words}{at}; {kept}; a smaller batch_size or fewer runs at a time need less")
    if words and not isinstance(code, int):
        return _died(f"{words}{at}; {kept}")
    if not isinstance(code, int):
        return _died(f"its process is gone{at}, and so is the one that watched it; {kept}")
    if end and end.get("disk_full") is True and (code > 0 or -code in _CRASHES):  # a write to mapped memory is a SIGBUS
        how = f"exit code {code}" if code > 0 else _signal_name(-code)
        reason = f"its process ended{at} ({how}) while the disk was full; {kept}; {_FREE}"
        return Ending(state=RunState.FAILED, reason=reason)
    if code < 0:
        if -code in _CRASHES:
            reason = f"its process crashed ({_signal_name(-code)}){at}; the log has the details; {kept}"
            return Ending(state=RunState.FAILED, reason=reason)
        reason = f"its process was killed from outside the lab ({_signal_name(-code)}){at}; {kept}"
        return Ending(state=RunState.INTERRUPTED, reason=reason, may_return=-code != signal.SIGTERM)
    num_processes = _num_processes(run, status)
    if code and num_processes != 1:
        return _died(f"one of its {num_processes} processes died{at}; the log has the details; {kept}")
    reason = f"its process ended{at} (exit code {code}) without saying why; the log has the details; {kept}"
    return Ending(state=RunState.FAILED, reason=reason)


def again(run: Run, ending: Ending, *, last_step: int, fruitless: int) -> tuple[Ending, int, int]:
    """(what becomes of a run that may return, step it returns to, resumes in a row without a new checkpoint).

    Queued again when its settings or its request say so and earlier resumes came further; last_step, fruitless: of the
    last return.
    """
    reason = ending.reason.partition(AGAIN)[0]
    step = kept_step(run)
    fruitless = 0 if step > last_step else fruitless + 1
    if ending.state is not RunState.QUEUED and not _returns(run):
        return Ending(state=RunState.INTERRUPTED, reason=reason), last_step, 0
    if fruitless >= MAX_FRUITLESS:
        how = "ended" if ending.state is RunState.QUEUED else "died"
        why = f"not queued again, because it {how} {MAX_FRUITLESS} times at the same checkpoint"
        return Ending(state=RunState.INTERRUPTED, reason=f"{reason}; {why}"), last_step, 0
    return Ending(state=RunState.QUEUED, reason=f"{reason}{AGAIN}"), step, fruitless


def grace_s(run: Run) -> float:
    """Seconds the run has to save itself; the default where its settings cannot be read."""
    try:
        return run.settings.machine.stop_grace_s
    except LabError:
        return 60.0


def _returned(request: StopRequest, reason: str) -> Ending:
    """Of a request after which it continues: one that makes room does so however often, at its time limit if it came
    further."""
    if request.cause == attempts.LIMIT:
        words = reason.removesuffix(AGAIN)
        return Ending(state=RunState.QUEUED, reason=f"{words}{AGAIN}", may_return=True)
    words = reason.removesuffix(GOES_ON)
    return Ending(state=RunState.QUEUED, reason=f"{words}{GOES_ON}")


def _asked_in_words(run: Run, request: StopRequest) -> str:
    if request.cause == attempts.ROOM:
        return f"interrupted for a run of {request.by}"
    if request.cause == attempts.LIMIT:
        return f"stopped at its {shown_request(run).limit_in_words}"
    return f"{'paused' if request.pauses else 'stopped'} by {request.by}"


def _died(reason: str) -> Ending:
    return Ending(state=RunState.INTERRUPTED, reason=reason, may_return=True)


def _cut_off(run: Run, request: StopRequest, was_killed: bool) -> str:
    """Why a run that was asked to stop has not said so itself."""
    if request.level >= 2:
        return f"killed by {request.by}"
    whose = "its time limit" if request.cause == attempts.LIMIT else f"the request by {request.by}"
    whose = f"the request to make room for a run of {request.by}" if request.cause == attempts.ROOM else whose
    if was_killed:
        return f"killed because it did not stop within {grace_s(run):g} s of {whose}"
    return f"{_asked_in_words(run, request)}; it ended before it could save"


def _num_processes(run: Run, status: Status) -> int:
    """How many processes share its training: as its device says since it began, until then as its settings do."""
    if found := re.search(r"(\d+) processes", status.device):
        return int(found[1])
    try:
        return run.settings.machine.num_processes or 1
    except LabError:
        return 1


def _returns(run: Run) -> bool:
    try:
        return run.settings.machine.auto_resume
    except LabError:
        return False


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
