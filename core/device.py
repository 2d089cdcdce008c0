"""Which device to use, in which precision, with how many threads. Imports PyTorch only where that is asked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from core.errors import UsageError
from core.home import PROGRAM
from core.rules import NEWEST, check

if TYPE_CHECKING:
    import torch

MOST_THREADS = 8
LOOKS, LOOK_EVERY_S = 5, 0.002


def check_device(name: str, *, given: bool = False) -> None:
    """Raises UsageError when the named device does not exist. Starts nothing on a GPU: a screen may call it.

    given: the queue gave it, which need not be what machine.device asks for.
    """
    if name in ("auto", "cpu"):
        return
    import torch

    if not torch.cuda.is_available():
        if given:
            raise UsageError("the queue gave this run a GPU, but PyTorch sees none", f"run: {PROGRAM} doctor")
        raise UsageError(f"machine.device: '{name}' was asked for, but PyTorch sees no GPU", "use cpu or auto")
    count = torch.cuda.device_count()
    if int(name.partition(":")[2] or 0) >= count:
        raise UsageError(f"machine.device: '{name}' does not exist, this machine has {count} GPU(s)")


def resolve_device(name: str = "auto") -> torch.device:
    """'auto', 'cpu', 'cuda' or 'cuda:N' → a device that exists; auto takes the GPU with the most free memory.

    LAB_DEVICE wins: the queue sets it, and shows the process only the GPUs it was given. Raises UsageError when the
    named GPU does not exist.
    """
    given = os.environ.get("LAB_DEVICE")
    name = given or name
    check_device(name, given=bool(given))
    import torch

    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if name in ("auto", "cuda"):
        free = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
        return torch.device("cuda", free.index(max(free)))
    return torch.device("cuda", int(name.partition(":")[2]))


def supports_bf16(device: torch.device) -> bool:
    """True where bfloat16 arithmetic is native: Ampere GPUs and later, CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        import torch

        return bool(torch.cuda.get_device_capability(device)[0] >= 8)
    return cpu_supports_bf16()


def cpu_supports_bf16() -> bool:
    """True where this machine's CPU computes in bfloat16 natively."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def mixed_precision(setting: str, device: torch.device) -> str:
    """'auto', 'no' or 'bf16' → what Accelerate is told: 'no' or 'bf16'."""
    if setting == "auto":
        return "bf16" if supports_bf16(device) else "no"
    return setting


def set_threads(count: int | None, *, rule: int = NEWEST.threads) -> int:
    """Train with `count` CPU threads (None: 1; 0: one a core this process may use, at most 8). Returns the number.

    Never by what else runs now: a training that is repeated has the same numbers. rule: version of what 0 means, see
    core.rules; this is version 1.
    """
    check("threads", rule)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)  # rule 1
    wanted = 1 if count is None else count or min(available, MOST_THREADS, _openmp_limit())
    import torch

    torch.set_num_threads(wanted)
    return wanted


def take_free_cores(
    count: int | None,
    *,
    share: int = 1,
    cores: int | None = None,
    running: Callable[[], int] | None = None,
    probe: Callable[[int], float] | None = None,
) -> int:
    """Compute what is no training with `count` CPU threads, or, where it is None or 0, with as many as pay now.

    Those are at most MOST_THREADS, OMP_NUM_THREADS, and this process's `cores` divided by `share`, the slots of the
    queue that may all be in use. They leave out what others keep busy, and are no more than `probe` finds faster. For
    large batches: a few images gain little (docs/log.md). Their number changes float rounding only. Returns it.

    running: tasks that run now, see `running_elsewhere`. probe: threads → seconds, see `seconds_with`.
    """
    import torch

    if not count:
        cores = cores or available_cores()
        most = min(cores // share, MOST_THREADS, _openmp_limit())
        if most > 1:  # nobody looks for what may not be taken
            most = min(most, max(cores, os.cpu_count() or 1) - (running or running_elsewhere)())
        candidates = [threads for threads in (1, 2, 4) if threads < most] + [most]
        count = min(candidates, key=probe or seconds_with) if most > 1 else 1
    torch.set_num_threads(count)
    return count


def running_elsewhere() -> int:
    """Tasks beside this thread that want a core now, the mean of a few looks; 0 where the kernel does not say."""
    looks = []
    try:
        for _ in range(LOOKS):
            time.sleep(LOOK_EVERY_S)
            with open("/proc/loadavg") as file:
                looks.append(int(file.read().split()[3].partition("/")[0]) - 1)  # the reader runs as well
    except (OSError, ValueError, IndexError):
        return 0
    return round(sum(looks) / len(looks))


def seconds_with(threads: int) -> float:
    """Seconds that a few convolutions like those of the lab's networks, of a large batch, take with so many threads;
    draws nothing random."""
    import torch

    torch.set_num_threads(threads)
    images, weight = torch.ones(256, 32, 8, 8), torch.ones(32, 32, 3, 3)
    found = []
    with torch.no_grad():
        for _ in range(5):  # the first starts the threads
            begun = time.perf_counter()
            torch.nn.functional.conv2d(images, weight, padding=1)
            found.append(time.perf_counter() - begun)
    return sorted(found)[2]


def _openmp_limit() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or MOST_THREADS)


def available_cores() -> int:
    """CPU cores that this process may use: those it may run on, and no more than its control group has time for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no such group, or 'max': no limit
        return cores


def device_label(device: torch.device, processes: int = 1) -> str:
    """The device in words a person knows: 'NVIDIA H200 (cuda:0)', 'CPU, 2 threads', 'CPU, 2 processes'."""
    import torch

    if device.type == "cuda":
        label = f"{torch.cuda.get_device_name(device)} ({device})"
        return label + (f" and others, {processes} processes" if processes > 1 else "")
    count = torch.get_num_threads()
    if processes > 1:
        return f"CPU, {processes} processes" + (f" of {count} threads" if count > 1 else "")
    return f"CPU, {count} thread{'s' if count > 1 else ''}"


def free_on_gpu(device: torch.device) -> int:
    """Bytes that this process could still allocate there: what is free, and what PyTorch holds without using it."""
    import torch

    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + held)
