"""A process that reads what a stranger made, limited by the kernel; what it found or what went wrong is a file.

`run_limited` starts `python -m MODULE REQUEST` and waits for it; the module's own `main` limits itself, reads, and
writes down how it ended with `write_outcome`. Never imports torch.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from core import errors, reading
from core.bound_child import bound_child
from core.errors import DataUnavailable, LabError, StorageFull, Unanswered, UsageError
from core.home import HOME_VARIABLE, code_root, lab_home, python_path

FULL, FULL_WORDS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "the disk is full"
RESULT, PROGRESS = "result.json", "progress.json"
POLL_S = 0.05
TELL_EVERY_S = 0.2
STALL_S = 120.0  # without a moment of processor time: whatever it reads from does not answer


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What reading took: seconds of wall-clock, peak memory of the child."""

    seconds: float
    peak_bytes: int


def run_limited(
    module: str,
    request: str,
    folder: Path,
    *,
    wall_s: float,
    cpu_s: int,
    what: str,
    environment: Mapping[str, str] | None = None,
    stall_s: float = STALL_S,
    progress: Callable[[Any], None] = lambda told: None,
    cancelled: Callable[[], bool] = lambda: False,
    measured: Callable[[Measured], None] | None = None,
) -> dict[str, Any]:
    """What the child wrote down: {"found": …}, or {"problem": sentence, "hint": …, "is_usage": a wish, not the data}.

    It is killed when cancelled, when too slow, when it took no processor time for `stall_s`, and when this process
    ends, however it ends.
    folder: where it works and leaves its result. what: a noun for the hint when it dies, 'a set of pictures'.
    environment: beside PATH, LANG, PYTHONPATH and one thread; nothing else is inherited. progress: gets what the
    child's `teller` told.
    """
    started, peak = time.monotonic(), 0
    worked_s, worked_at = 0.0, started
    with bound_child(
        [sys.executable, "-m", module, request],
        cwd=folder,
        env={**_environment(), **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            while child.poll() is None:
                peak = max(peak, peak_bytes(child.pid))
                if cancelled():
                    return {"problem": "reading it was cancelled"}
                if time.monotonic() - started > wall_s:
                    return {"problem": f"reading it took longer than {wall_s:.0f} s", "hint": "import less"}
                if (spent_s := processor_s(child.pid)) > worked_s:
                    worked_s, worked_at = spent_s, time.monotonic()
                if time.monotonic() - worked_at > stall_s:
                    return {"problem": f"nothing could be read for {stall_s:.0f} s", "hint": "does its disk answer?"}
                with contextlib.suppress(OSError, ValueError):
                    progress(json.loads((folder / PROGRESS).read_bytes()))
                time.sleep(POLL_S)
        finally:
            if child.poll() is None:
                child.kill()  # waited for by `bound_child`
            if measured:
                with contextlib.suppress(OSError, ValueError, KeyError):
                    peak = max(peak, reading.read_object(folder / RESULT)["peak_bytes"])
                measured(Measured(seconds=time.monotonic() - started, peak_bytes=peak))
    return _outcome(folder, child.returncode, cpu_s, what)


def write_outcome(folder: Path, read: Callable[[], Any], *, memory_bytes: int) -> None:
    """In the child: read, and leave what was found or the problem in one sentence, whatever a hostile file raises."""
    try:
        outcome: dict[str, Any] = {"found": read()}
    except LabError as error:
        is_usage, kind = isinstance(error, UsageError), type(error).__name__
        outcome = {"problem": error.message, "hint": error.hint, "is_usage": is_usage, "kind": kind}
        if isinstance(error, Unanswered):
            outcome |= {"option": error.option, "value": error.value}
    except MemoryError:
        outcome = {"problem": f"it needs more than {memory_bytes / 1e6:.0f} MB of memory to read", "hint": ""}
    except OSError as error:
        outcome = {"problem": f"it cannot be read ({error.strerror or error})", "hint": ""}
        if error.errno in FULL:
            outcome = {"problem": FULL_WORDS, "hint": "", "is_full": True}
    except Exception as error:  # parsers fed with hostile files raise whatever they meet
        first = (str(error).splitlines() or [""])[0][:200]
        outcome = {"problem": f"it cannot be read ({type(error).__name__}: {first})", "hint": ""}
    temporary = folder / f"{RESULT}.tmp"
    try:
        temporary.write_text(json.dumps({**outcome, "peak_bytes": peak_bytes("self")}))
        temporary.rename(folder / RESULT)
    except OSError as error:
        sys.exit(errno.ENOSPC if error.errno in FULL else error.errno)


def teller(folder: Path) -> Callable[[Any], None]:
    """In the child: passes something JSON can hold on to `progress` of `run_limited`, at most five times a second."""
    last = time.monotonic()

    def tell(told: Any) -> None:
        nonlocal last
        if time.monotonic() - last > TELL_EVERY_S:
            last = time.monotonic()
            temporary = folder / f"{PROGRESS}.tmp"
            temporary.write_text(json.dumps(told))
            temporary.rename(folder / PROGRESS)

    return tell


def problem_of(outcome: dict[str, Any], *, begins: str) -> LabError:
    """The error that the child's outcome tells: of the kind that was raised there, else DataUnavailable.

    begins: what stands before a sentence that is not the child's own, because it died or took too much.
    """
    problem, hint = str(outcome["problem"]), str(outcome.get("hint", ""))
    kind = getattr(errors, str(outcome.get("kind")), None)
    if kind is Unanswered:
        return Unanswered(problem, hint, option=str(outcome["option"]), value=str(outcome["value"]))
    if isinstance(kind, type) and issubclass(kind, LabError):
        return kind(problem, hint)
    return (StorageFull if outcome.get("is_full") else DataUnavailable)(f"{begins}: {problem}", hint)


def limit_process(*, cpu_s: int, file_bytes: int) -> None:
    """In the child: processor time, size of a file it writes, no core dump. Memory is the module's own matter."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def peak_bytes(process: int | str) -> int:
    """Most memory a process ever had resident, as the kernel counts it; 0 when it is gone."""
    return status_bytes(process, "VmHWM")


def status_bytes(process: int | str, name: str) -> int:
    """A size of /proc/PROCESS/status, such as VmHWM or VmData; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
    except (OSError, StopIteration):
        return 0


def processor_s(process: int) -> float:
    """Seconds of processor time that a process has taken; 0 when it is gone."""
    try:
        spent = psutil.Process(process).cpu_times()
        return float(spent.user + spent.system)
    except psutil.Error:
        return 0.0


def _environment() -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "LANG": "C.UTF-8",
        "PYTHONPATH": python_path(Path(__file__).resolve().parents[1]),  # the very code that asks, frozen or not
        "LAB_PROJECT": str(code_root()),
        HOME_VARIABLE: str(lab_home()),
        "PYTHONDONTWRITEBYTECODE": "1",  # a file that the limit cuts short would break every later import
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    }


def _outcome(folder: Path, returncode: int, cpu_s: int, what: str) -> dict[str, Any]:
    """What the child wrote down, else what its death says."""
    try:
        return reading.read_object(folder / RESULT)
    except (OSError, ValueError):
        if returncode == -signal.SIGXCPU:
            return {"problem": f"reading it took more than {cpu_s} s of processor time", "hint": "import less"}
        ended = f"signal {-returncode}" if returncode < 0 else f"exit code {returncode}"
        if returncode == errno.ENOSPC:
            return {"problem": FULL_WORDS, "hint": f"{folder} has no room", "is_full": True}
        return {"problem": f"the process that read it died ({ended})", "hint": f"is it really {what}?"}
