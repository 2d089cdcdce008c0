"""Which device to use, in which precision, with how many threads. Imports PyTorch only where that is asked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from core.errors import UsageError
from core.rules import NEWEST, check

if TYPE_CHECKING:
    import torch


def check_device(name: str) -> None:
    """Raises UsageError when the named device does not exist. Starts nothing on a GPU: a screen may call it."""
    if name in ("auto", "cpu"):
        return
    import torch

    if not torch.cuda.is_available():
        raise UsageError(f"machine.device: '{name}' was asked for, but PyTorch sees no GPU", "use cpu or auto")
    count = torch.cuda.device_count()
    if int(name.partition(":")[2] or 0) >= count:
        raise UsageError(f"machine.device: '{name}' does not exist, this machine has {count} GPU(s)")


def resolve_device(name: str = "auto") -> torch.device:
    """'auto', 'cpu', 'cuda' or 'cuda:N' → a device that exists; auto takes the GPU with the most free memory.

    LAB_DEVICE wins: the queue sets it, and shows the process only the GPUs it was given. Raises UsageError when the
    named GPU does not exist.
    """
    name = os.environ.get("LAB_DEVICE") or name
    check_device(name)
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


def set_threads(count: int, *, rule: int = NEWEST.threads) -> int:
    """Use `count` CPU threads (0: one a core this process may use, at most 8). Returns the number in use.

    rule: version of what 0 means, see core.rules; this is version 1.
    """
    check("threads", rule)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)  # rule 1
    wanted = count or min(available, 8, int(os.environ.get("OMP_NUM_THREADS") or 8))
    import torch

    torch.set_num_threads(wanted)
    return wanted


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
        return f"{torch.cuda.get_device_name(device)} ({device})"
    count = torch.get_num_threads()
    if processes > 1:
        return f"CPU, {processes} processes" + (f" of {count} threads" if count > 1 else "")
    return f"CPU, {count} thread{'s' if count > 1 else ''}"


def free_on_gpu(device: torch.device) -> int:
    """Bytes that this process could still allocate there: what is free, and what PyTorch holds without using it."""
    import torch

    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0] + held)
