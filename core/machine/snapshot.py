"""This machine now: GPUs, CPU, memory, disk, and who else works it hard. Cheap enough for a tick; no PyTorch."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from core.machine.attempts import run_of
from core.machine.cpu_load import cpu_load
from core.machine.gpus import Gpu, shortened
from core.machine.memory import read_memory
from core.machine.torch_gpus import seen_gpus

MOST_OTHERS = 5
HEAVY_CPU_SHARE = 0.1
HEAVY_MEMORY_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The file system of the runs folder. free_bytes: what this user may still write."""

    path: Path
    used_bytes: int
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, kw_only=True)
class HeavyProcess:
    """A process that is not ours. cpu_share: of one core, since it was last looked at."""

    pid: int
    user: str
    command: str
    cpu_share: float
    memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Machine:
    """cpu_load: share of all cores that is busy, 0 to 1, see `cpu_load`. others: who else works it hard.

    memory: the machine's, or its cgroup's where that has less. gpus_problem: why PyTorch cannot use the GPUs, or ''.
    blind_gpus: names of GPUs whose driver cannot be read.
    """

    gpus: tuple[Gpu, ...]
    cpu_count: int
    cpu_load: float
    memory_used_bytes: int
    memory_total_bytes: int
    disk: Disk
    others: tuple[HeavyProcess, ...]
    blind_gpus: tuple[str, ...] = ()
    gpus_problem: str = ""


def read_machine(store_root: Path) -> Machine:
    """Look at everything once. The first look of a process takes a fifth of a second, to have a CPU load to tell."""
    memory = read_memory()
    folder = next(path for path in (store_root, *store_root.absolute().parents) if path.exists())
    usage = shutil.disk_usage(folder)
    known, blind, problem = seen_gpus()
    return Machine(
        gpus=tuple(known),
        blind_gpus=blind,
        gpus_problem=problem,
        cpu_count=psutil.cpu_count() or 1,
        cpu_load=cpu_load.now(),
        memory_used_bytes=memory.total - memory.free,
        memory_total_bytes=memory.total,
        disk=Disk(path=folder, used_bytes=usage.used, free_bytes=usage.free, total_bytes=usage.total),
        others=tuple(_others(memory.total)),
    )


_known: dict[tuple[int, float], psutil.Process] = {}


def _others(total_memory: int) -> list[HeavyProcess]:
    """The heaviest processes that no run of ours started; psutil compares with its last look at the same process."""
    found = []
    seen: dict[tuple[int, float], psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            key = (process.pid, process.create_time())
            kept = seen[key] = _known.get(key, process)
            with kept.oneshot():
                share = kept.cpu_percent(None) / 100
                held = kept.memory_info().rss
                if share < HEAVY_CPU_SHARE and held < HEAVY_MEMORY_SHARE * total_memory:
                    continue
                if run_of(process.pid):
                    continue
                words = " ".join(kept.cmdline()).strip() or kept.name()
                user = kept.username()
        except (psutil.Error, OSError):
            continue
        heavy = HeavyProcess(pid=process.pid, user=user, command=shortened(words), cpu_share=share, memory_bytes=held)
        found.append(heavy)
    _known.clear()
    _known.update(seen)
    return sorted(found, key=lambda each: (-round(each.cpu_share, 1), -each.memory_bytes))[:MOST_OTHERS]
