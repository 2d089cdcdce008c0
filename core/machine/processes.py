"""Processes by an identity that is never used again: boot id, pid and start time. A zombie counts as dead.

psutil has no identity that another process can compare: its start times shift with the clock of the machine.
"""

from __future__ import annotations

import os
from pathlib import Path

from core.machine.attempts import boot_id, living_stat
from core.runs.run import ProcessIdentity


def identity_of(pid: int) -> ProcessIdentity | None:
    """Who has this pid now; None when nobody or only a zombie has."""
    if not isinstance(pid, int) or pid <= 0:  # it may come from a damaged file
        return None
    start = _start_ticks(pid)
    return None if start is None else ProcessIdentity(boot_id=boot_id(), pid=pid, start_ticks=start)


def own_identity() -> ProcessIdentity:
    """This process."""
    identity = identity_of(os.getpid())
    assert identity is not None
    return identity


def is_alive(identity: ProcessIdentity | None) -> bool:
    """True while exactly this process lives: same boot, same pid, same start, not a zombie."""
    return identity is not None and identity == identity_of(identity.pid)


def is_of(pid: int, uid: int) -> bool:
    """Whether a living process of this account has the pid. False where /proc hides other accounts' processes."""
    try:
        return living_stat(pid) is not None and Path(f"/proc/{pid}").stat().st_uid == uid
    except OSError:
        return False


def _start_ticks(pid: int) -> int | None:
    if Path("/proc/self/stat").exists():
        fields = living_stat(pid)
        return int(fields[19]) if fields else None
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 100)
    except psutil.Error:
        return None
