"""How tests leave nothing behind: the supervisor of a runs folder and every process of its runs are ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from core.jobs.queue import JobState, Queue
from core.jobs.queue_schema import FORMAT
from core.jobs.serving import FACTS_NAME, LOCK_NAME, say_who_serves
from core.machine import attempts
from core.runs.lock import is_locked, try_lock
from core.runs.store import RunStore


def supervisor_pid(store: RunStore) -> int | None:
    """The pid of the supervisor that lives, if one does."""
    folder = Queue(store.root).folder
    try:
        facts = json.loads((folder / FACTS_NAME).read_text())
    except (OSError, ValueError):
        return None
    return int(facts["pid"]) if is_locked(folder / LOCK_NAME) else None


def kill_supervisor(store: RunStore, number: signal.Signals = signal.SIGKILL) -> int | None:
    """End the supervisor and wait until its lock is free."""
    lock = Queue(store.root).folder / LOCK_NAME
    deadline = time.monotonic() + 180
    pid = supervisor_pid(store)
    while is_locked(lock):
        pid = supervisor_pid(store) or pid
        assert pid != os.getpid()
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(0.02)
        assert time.monotonic() < deadline, "the supervisor does not end"
    return pid


@contextlib.contextmanager
def nobody_serves(store: RunStore) -> Iterator[None]:
    """No supervisor starts for this runs folder: its place is taken."""
    folder = Queue(store.root).folder
    folder.mkdir(parents=True, exist_ok=True)
    lock = try_lock(folder / LOCK_NAME, patience_s=60.0)
    assert lock is not None, "a supervisor lives"
    say_who_serves(folder, FORMAT)
    try:
        yield
    finally:
        lock.release()


def command_lines() -> dict[int, list[str]]:
    """The command lines of all processes by pid; any may end while they are read."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                found[int(path.name)] = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
    return found


def shim_pids(folder: Path) -> list[int]:
    """Shims that watch this run."""
    wanted = {"core.jobs.shim", str(folder.resolve())}
    return [pid for pid, words in command_lines().items() if wanted <= set(words)]


def naming(folder: Path) -> list[list[str]]:
    """Command lines that name this folder or what lies in it."""
    return [words for words in command_lines().values() if str(folder) in " ".join(words)]


def end_lab(store: RunStore) -> None:
    """Kill supervisor, shims and trainings of this runs folder."""
    kill_supervisor(store)
    for pid, words in command_lines().items():  # one that was just started has no lock yet
        if {"core.jobs.supervisor", str(store.root)} <= set(words) and pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    queue = Queue(store.root)
    for job in queue.jobs(*JobState):
        for pid in shim_pids(store.root / job.run_id):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and attempts.run_of(int(path.name)) == job.run_id:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(path.name), signal.SIGKILL)
    queue.close()
