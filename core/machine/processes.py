"""Processes by an identity that is never used again: boot id, pid and start time. A zombie counts as dead."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import lru_cache
from pathlib import Path

from core.runs.run import ProcessIdentity

_PROC = Path("/proc")
_DEAD_STATES = ("Z", "X", "x")


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


def terminate(identity: ProcessIdentity) -> bool:
    """SIGTERM to the process itself. False when it is gone or belongs to someone else."""
    return _send(identity, signal.SIGTERM)


def kill_group(identity: ProcessIdentity) -> bool:
    """SIGKILL to the process and, when it leads a session of its own, to everything it started in it.

    Also reaches what a dead leader left behind. False when nothing was there to kill or it was not allowed.
    """
    killed = False
    for pid in session_members(identity):
        member = identity_of(pid)
        if member is not None and _send(member, signal.SIGKILL):
            killed = True
    return _send(identity, signal.SIGKILL) or killed


def session_members(identity: ProcessIdentity) -> list[int]:
    """Living pids of the session that `identity` leads or led; empty when it leads none or off Linux."""
    if not _PROC.joinpath("self").exists() or identity.boot_id != boot_id():
        return []
    members = []
    for name in (path.name for path in _PROC.iterdir()):
        fields = _stat_fields(int(name)) if name.isdigit() else None
        if fields and fields[0] not in _DEAD_STATES and int(fields[3]) == identity.pid:
            # a session id stays taken while a member lives, so older members mean another, earlier session
            if int(fields[19]) < identity.start_ticks:
                return []
            members.append(int(name))
    return members


def wait_until_dead(identity: ProcessIdentity, timeout_s: float) -> bool:
    """True as soon as the process is gone, False after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while is_alive(identity):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Changes at every start of the machine."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return f"boot-{int(psutil.boot_time())}"


def _send(identity: ProcessIdentity, number: signal.Signals) -> bool:
    """A signal to this process and never to another that got its pid."""
    try:
        if sys.platform == "linux" and hasattr(os, "pidfd_open"):
            descriptor = os.pidfd_open(identity.pid)
            try:
                if not is_alive(identity):
                    return False
                signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)
        elif is_alive(identity):
            os.kill(identity.pid, number)
        else:
            return False
    except (OSError, OverflowError):  # no process has a pid that large
        return False
    return True


def _stat_fields(pid: int) -> list[str] | None:
    """/proc/PID/stat after the command's name (which may hold blanks and brackets): state, ppid, pgrp, session, …"""
    try:
        return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def _start_ticks(pid: int) -> int | None:
    if _PROC.joinpath("self", "stat").exists():
        fields = _stat_fields(pid)
        return int(fields[19]) if fields and fields[0] not in _DEAD_STATES else None
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else int(process.create_time() * 100)
    except psutil.Error:
        return None
