"""Who serves a runs folder: the supervisor that holds the lock, what it says of itself, and whether it still moves.

A lock that somebody holds who is no supervisor, such as a program of another account that may read the file, keeps none
out: only the lock and the word of a living process together count.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import atomic, reading
from core.machine.attempts import boot_id, living_stat
from core.machine.processes import is_alive, own_identity
from core.runs.lock import FileLock, is_locked, try_lock
from core.runs.run import ProcessIdentity, now_iso
from core.version import VERSION
from core.words import duration

logger = logging.getLogger(__name__)

FOLDER = ".queue"  # in the runs folder
LOCK_NAME, FACTS_NAME, BEAT_NAME = "supervisor.lock", "supervisor.json", "supervisor.beat"
BEAT_EVERY_S = 2.0
SILENT_AFTER_S = 60.0  # a busy machine or a slow disk may hold a supervisor up that long
FOREIGN_PATIENCE_S = 2.0
_BEAT_BYTES = 128
_STOPPED_STATES = ("T", "t")


@dataclass(frozen=True, kw_only=True)
class SupervisorFacts:
    """What a supervisor says of itself (supervisor.json). queue_format: 0 for labs that knew none."""

    process: ProcessIdentity | None = None
    queue_format: int = 0
    started_at: str = ""
    problem: str = ""


def facts_of(folder: Path) -> SupervisorFacts:
    """What the newest supervisor of a queue's folder said of itself; nothing where that cannot be read."""
    try:
        return reading.read_record(folder / FACTS_NAME, SupervisorFacts)
    except (OSError, reading.Unreadable):
        return SupervisorFacts()


def say_who_serves(folder: Path, queue_format: int, problem: str = "") -> None:
    """This process serves the queue: write it down. A disk that is full keeps what stood there."""
    identity = own_identity()
    facts: dict[str, Any] = {
        "format": 1,
        "lab_version": VERSION,
        "queue_format": queue_format,
        "pid": identity.pid,
        "started_at": now_iso(),
        "problem": problem,
        "process": identity.__dict__,
    }
    with contextlib.suppress(OSError):
        atomic.write_json(folder / FACTS_NAME, facts)


def beat(folder: Path) -> None:
    """This process still moves. Written in place, so that a full disk does not silence it."""
    text = f"{boot_id()} {os.getpid()} {time.monotonic():.3f}".ljust(_BEAT_BYTES - 1) + "\n"
    with contextlib.suppress(OSError):
        descriptor = atomic.open_private(folder / BEAT_NAME)
        try:
            os.pwrite(descriptor, text.encode(), 0)
        finally:
            os.close(descriptor)


def silence_s(folder: Path, process: ProcessIdentity) -> float | None:
    """Seconds since the last sign of life of this supervisor; None where it gives none, as those of 0.2.0."""
    try:
        boot, pid, moment = reading.read_text(folder / BEAT_NAME, limit=_BEAT_BYTES).split()
        if (boot, int(pid)) != (boot_id(), process.pid):
            return None
        return max(0.0, time.monotonic() - float(moment))
    except (OSError, ValueError):
        return None


def is_served(folder: Path) -> bool:
    """True while the lock is held and the process that says it serves is alive, or moved lately out of sight."""
    if not is_locked(folder / LOCK_NAME):
        return False
    process = facts_of(folder).process
    if process is None:
        return False
    silence = silence_s(folder, process)
    return is_alive(process) or (silence is not None and silence < SILENT_AFTER_S)


def stillness(folder: Path) -> str:
    """Why the supervisor that lives does nothing, in words; '' for one that moves."""
    process = facts_of(folder).process
    if process is None or not is_alive(process):
        return ""
    stat = living_stat(process.pid)
    if stat is not None and stat[0] in _STOPPED_STATES:
        words = f"is stopped by a signal: nothing starts or ends; kill -CONT {process.pid} lets it continue"
        return f"the supervisor (pid {process.pid}) {words}"
    silence = silence_s(folder, process)
    if silence is None or silence < SILENT_AFTER_S:
        return ""
    words = f"has not moved for {duration(silence)}: nothing starts or ends; kill -9 {process.pid} ends it"
    return f"the supervisor (pid {process.pid}) {words}, and another one starts"


def take_lock(folder: Path) -> FileLock | None:
    """The lock of the one supervisor, or None while another one serves.

    Where somebody holds it who serves nothing, the file is replaced; a supervisor whose lock is replaced ends.
    """
    path = folder / LOCK_NAME
    if is_served(folder):
        return None
    lock = try_lock(path, patience_s=FOREIGN_PATIENCE_S)
    if lock is None and not is_served(folder):
        logger.warning("%s is held by a process that serves nothing: replaced", path)
        path.unlink(missing_ok=True)
        lock = try_lock(path, patience_s=FOREIGN_PATIENCE_S)
    return lock
