"""Memory of this machine for this process: what there is in all, and what is free now. The cgroup's limits count.

`LAB_MEMORY_RECORDING` names a JSON file that stands in for the kernel: {"total": bytes, "free": bytes}. It is read at
every look.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from core import reading
from core.machine.attempts import run_of

RECORDING_VARIABLE = "LAB_MEMORY_RECORDING"
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
UNLIMITED = 2**60  # cgroup v1 writes its largest number of pages where there is no limit


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes. total: what this process could have at most, alone. free: what can be taken now without swapping."""

    total: int
    free: int


def read_memory(*, proc: Path = PROC, cgroups: Path = CGROUPS) -> Memory:
    """The machine's memory, or that of the narrowest cgroup (version 1 or 2) above this process where that is less.

    proc, cgroups: where the kernel tells. Page cache that can be given up counts as free.
    """
    recording = os.environ.get(RECORDING_VARIABLE)
    if recording:
        facts = reading.read_object(Path(recording))
        return Memory(total=int(facts["total"]), free=int(facts["free"]))
    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    for limit, used in _cgroup_levels(proc, cgroups):
        total, free = min(total, limit), min(free, max(0, limit - used))
    return Memory(total=total, free=free)


def resident_by_run() -> dict[str, int]:
    """Run → bytes of anonymous memory that its processes hold now. Page cache and shared libraries do not count."""
    found: dict[str, int] = {}
    for pid in psutil.pids():
        run_id = run_of(pid)
        if run_id:
            found[run_id] = (
                found.get(run_id, 0) + _row(PROC / str(pid) / "status", "RssAnon:") * 1024
            )  # the kernel tells kilobytes
    return found


def _cgroup_levels(proc: Path, cgroups: Path) -> Iterator[tuple[int, int]]:
    """(limit, bytes used that cannot be given up) of each cgroup above this process that has a limit."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2; beside version 1 its tree may have a folder of its own
            for root in (cgroups, cgroups / "unified"):
                yield from _levels(root, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _levels(cgroups / "memory", path, *names)


def _levels(root: Path, path: str, limit_name: str, used_name: str, cache_name: str) -> Iterator[tuple[int, int]]:
    """From the named cgroup up to the root. In a container the path may be the host's: then the root alone is seen."""
    folder = root / path.strip("/")
    while True:
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        if limit is not None and used is not None and limit < UNLIMITED:
            yield limit, max(0, used - _row(folder / "memory.stat", cache_name))
        if folder == root or root not in folder.parents:
            return
        folder = folder.parent


def _number(path: Path) -> int | None:
    """The number in a file of the kernel; None for 'max' and where there is no such file."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _row(path: Path, name: str) -> int:
    """The number in the row that begins with this name; 0 where it is not told."""
    try:
        rows = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return 0
    return next((int(row[1]) for row in rows if len(row) > 1 and row[0] == name), 0)
