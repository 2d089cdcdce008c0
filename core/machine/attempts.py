"""One attempt at a run: its token, its processes, and the small files that tell how it began and ended.

Every process of an attempt carries `LAB_ATTEMPT=<run id>.<number>` in its environment, so that none is ever overlooked,
whoever its parent is. A number never comes again, in whatever queue or lab: what an earlier attempt left in the folder
names another one and is not believed. Standard library only: the shim, which lives as long as a training, stays small.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core import atomic, reading
from core.machine.outside import outside

TOKEN_VARIABLE = "LAB_ATTEMPT"  # noqa: S105 - a name, no secret
COMPUTE_VARIABLE = "LAB_COMPUTE"  # in the environment of the lab's process that computes for screens
ATTEMPT_FILE = "attempt.json"
EXIT_FILE = "exit.json"
STOP_FILE = "stop.json"
FORMAT = 1  # of the three files
LIMIT, ROOM = "its time limit", "room for others"  # causes of a stop that no person asked for
_RESERVED, _RESERVED_BYTES = ".exit.json.reserved", 4096
COUNT_UNIT = 10**9  # of an attempt's number: above it the count of attempts, below it what chance drew
MOST_TIME_S = 3e10  # seconds since 1970 that can be a date: the year 2920
_PROC = Path("/proc")
_DEAD_STATES = ("Z", "X", "x")


def number_after(last: int) -> int:
    """The number of the attempt after `last`: larger than it, and given to no other attempt.

    4123456789 is a fourth attempt. A queue made anew, or another lab that has the same run, may count from 1 again;
    its first attempt is another 1… then. Labs up to 0.2.0 counted 1, 2, 3 and add 1 to whatever they find.
    """
    count = last // COUNT_UNIT if last >= COUNT_UNIT else last
    return (count + 1) * COUNT_UNIT + secrets.randbelow(COUNT_UNIT)


def token_of(run_id: str, attempt: int) -> str:
    """What the processes of this attempt carry."""
    return f"{run_id}.{attempt}"


def read_file(folder: Path, name: str, attempt: int) -> dict[str, Any] | None:
    """attempt.json, exit.json or stop.json of a run folder, when it is about this attempt; else None."""
    try:
        value = reading.read_object(folder / name)
    except (OSError, ValueError):
        return None
    return value if value.get("attempt") == attempt else None


def texts_in(value: object) -> dict[str, str]:
    """What of a file's object is text by name; {} for anything else."""
    return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}


@dataclass(frozen=True, kw_only=True)
class StopRequest:
    """What was asked of an attempt. level: 1 save and stop, 2 kill. pauses: it keeps its place in the queue.

    at: seconds since 1970. cause: "" where a person asked; else LIMIT, or ROOM: it makes room for a run of `by`.
    returns: it is queued again and continues by itself.
    """

    level: int
    by: str
    at: float = 0.0
    pauses: bool = False
    cause: str = ""
    returns: bool = False


def current_attempt(folder: Path) -> int:
    """Number of the run's newest attempt, by its attempt.json; 0 when it never had one."""
    try:
        number = reading.read_object(folder / ATTEMPT_FILE).get("attempt")
    except (OSError, ValueError):
        return 0
    return number if isinstance(number, int) and 0 < number < 2**53 else 0


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Changes at every start of the machine."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return f"boot-{int(psutil.boot_time())}"


def place_of(folder: Path) -> dict[str, Any]:
    """What attempt.json says of where its attempt works: a copy of the folder is another place, a renamed one is not.

    Raises OSError when the folder is gone.
    """
    found = folder.stat()
    return {"boot_id": boot_id(), "device": found.st_dev, "inode": found.st_ino}


def is_copy(folder: Path) -> bool:
    """True when the newest attempt works, or worked, in the folder that this one was copied from, and since the last
    start of the machine: no process of it belongs here."""
    try:
        place = reading.read_object(folder / ATTEMPT_FILE).get("place")
        own = place_of(folder)
    except (OSError, ValueError):
        return False
    return isinstance(place, dict) and place.get("boot_id") == own["boot_id"] and place != own


def reserve_exit(folder: Path) -> None:
    """Room for exit.json, before the attempt begins: a disk that is full at its end must not hide how it ended.

    Raises OSError.
    """
    descriptor = atomic.open_followed(folder / _RESERVED, os.O_WRONLY)
    try:
        os.pwrite(descriptor, b" " * _RESERVED_BYTES, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_exit(folder: Path, end: Mapping[str, Any]) -> None:
    """Write exit.json, into the room that was reserved for it where that is there. Raises OSError."""
    data = atomic.json_bytes(end)
    try:
        descriptor = os.open(folder / _RESERVED, os.O_WRONLY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP):
            raise
        atomic.write_bytes(folder / EXIT_FILE, data)
        return
    try:
        if os.pwrite(descriptor, data.ljust(_RESERVED_BYTES), 0) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / EXIT_FILE))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(folder / _RESERVED, folder / EXIT_FILE)
    atomic.fsync_dir(folder)


def ask_to_stop(
    folder: Path,
    attempt: int,
    *,
    level: int,
    by: str,
    pauses: bool = False,
    cause: str = "",
    returns: bool = False,
    is_alone: bool = False,
) -> None:
    """Write the request down: stop.json is where shim, worker and supervisor find it.

    A lower level never replaces a higher one; a plain stop after a pause is a stop. What a person asks replaces what
    no person asked for, and is never replaced by that. is_alone: the caller sees to it that nobody else asks meanwhile.
    """
    with contextlib.nullcontext() if is_alone else _locked(folder):
        before = stop_of(folder, attempt)
        if before is not None and cause:
            return
        if before is not None and not before.cause:
            by = by if before.level < level else before.by
            level, pauses = max(before.level, level), before.pauses and pauses
        if before is None or before.cause or (level, pauses) != (before.level, before.pauses):
            request = StopRequest(level=level, by=by, at=time.time(), pauses=pauses, cause=cause, returns=returns)
            write_stop(folder, attempt, request)


def write_stop(folder: Path, attempt: int, request: StopRequest) -> None:
    """Replace stop.json, whatever stood there. Raises OSError."""
    atomic.write_json(folder / STOP_FILE, {"format": FORMAT, "attempt": attempt, **asdict(request)})


def stop_of(folder: Path, attempt: int) -> StopRequest | None:
    """What was asked of this attempt; None when nobody asked."""
    facts = read_file(folder, STOP_FILE, attempt) or {}
    level, at = facts.get("level"), facts.get("at")
    if level not in (1, 2):
        return None
    by, pauses = str(facts.get("by") or "someone"), facts.get("pauses") is True
    when = float(at) if isinstance(at, int | float) and 0 <= at < MOST_TIME_S else 0.0
    cause = next((each for each in (LIMIT, ROOM) if facts.get("cause") == each), "")
    returns = bool(cause) and facts.get("returns") is True
    return StopRequest(level=level, by=by, at=when, pauses=pauses, cause=cause, returns=returns)


def withdraw_stop(folder: Path) -> None:
    """Whoever resumes a run takes back what was asked of its last attempt. Raises OSError."""
    (folder / STOP_FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Requests one at a time. A file system without locks on folders goes without."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def living(token: str, *, leave_out: frozenset[int] = frozenset()) -> Iterator[list[tuple[int, int]]]:
    """(pid, pidfd) of the living processes that carry the token, those of other users that hide it left out.

    The pidfd is taken before the look, so that a pid used again is never hit.
    """
    found: list[tuple[int, int]] = []
    try:
        for name in (path.name for path in _PROC.iterdir()):
            if not name.isdigit() or int(name) == os.getpid() or int(name) in leave_out:
                continue
            try:
                descriptor = os.pidfd_open(int(name))
            except OSError:
                continue
            if _variable_of(int(name), TOKEN_VARIABLE) == token and living_stat(int(name)) is not None:
                found.append((int(name), descriptor))
            else:
                os.close(descriptor)
        yield found
    finally:
        for _, descriptor in found:
            os.close(descriptor)


def living_in(folder: Path, attempt: int) -> list[int]:
    """Pids of the living processes of a run folder's attempt."""
    return [] if is_copy(folder) else living_pids(token_of(folder.name, attempt))


def living_pids(token: str, *, leave_out: frozenset[int] = frozenset()) -> list[int]:
    """Pids of the living processes that carry the token."""
    with living(token, leave_out=leave_out) as found:
        return [pid for pid, _ in found]


def signal_all(token: str, number: signal.Signals, *, leave_out: frozenset[int] = frozenset()) -> int:
    """Send a signal to every living process of the attempt; how many there were."""
    with living(token, leave_out=leave_out) as found:
        for _, descriptor in found:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(descriptor, number)
        return len(found)


def run_of(pid: int) -> str:
    """The run whose attempt this process belongs to; '' for anybody else's."""
    return (_variable_of(pid, TOKEN_VARIABLE) or "").rpartition(".")[0]


def computes_for_screens(pid: int) -> bool:
    """Whether this is a process of the lab that computes what its screens show, as `core.compute.process` starts it."""
    return bool(_variable_of(pid, COMPUTE_VARIABLE))


@dataclass(frozen=True, kw_only=True)
class OwnProcess:
    """A living process that the lab started and that may be on a GPU. run_id: '' for the one that computes for screens.

    visible: the GPUs that it was given, as CUDA_VISIBLE_DEVICES names them; None for any.
    """

    pid: int
    run_id: str
    visible: tuple[str, ...] | None


def own_processes() -> list[OwnProcess]:
    """Processes of runs that were given GPUs, and what computes for screens where it has opened one."""
    found = []
    for name in (path.name for path in _PROC.iterdir() if path.name.isdecimal()):
        pid = int(name)
        run_id, visible = run_of(pid), _variable_of(pid, "CUDA_VISIBLE_DEVICES")
        if run_id and visible and living_stat(pid) is not None:
            entries = tuple(map(str.strip, visible.split(",")))
            found.append(OwnProcess(pid=pid, run_id=run_id, visible=entries))
        elif not run_id and computes_for_screens(pid) and _has_opened(pid, "/dev/nvidia"):
            found.append(OwnProcess(pid=pid, run_id="", visible=None))
    return found


def _has_opened(pid: int, beginning: str) -> bool:
    """Whether a process holds a file whose path begins so; False where one may not look."""
    try:
        return any(name.startswith(beginning) for name in outside(_open_files, pid))
    except OSError:
        return False


def _open_files(pid: int) -> list[str]:
    return [str(link.readlink()) for link in (_PROC / str(pid) / "fd").iterdir()]


def living_stat(pid: int) -> list[str] | None:
    """/proc/PID/stat after the command's name (which may hold blanks and brackets): state, ppid, …, 19 its start.

    None where no process has the pid, or only a zombie: that one counts as dead.
    """
    try:
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return fields if fields and fields[0] not in _DEAD_STATES else None


def _variable_of(pid: int, name: str) -> str | None:
    """Of a process's environment; None where it has none of that name, or may not be looked at."""
    try:
        entries = outside((_PROC / str(pid) / "environ").read_bytes).split(b"\0")
    except OSError:
        return None
    start = f"{name}=".encode()
    found = next((entry for entry in entries if entry.startswith(start)), None)
    return None if found is None else found[len(start) :].decode(errors="replace")
