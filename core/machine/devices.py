"""Which device a run will use, seen without PyTorch, and the lock that keeps it to one run at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from core.runs.lock import FileLock, is_locked, try_lock

_GPU_NODE = re.compile(r"^nvidia(\d+)$")
_UNSAFE = re.compile(r"[^A-Za-z0-9]+")


def visible_gpus(environment: Mapping[str, str] | None = None, nodes: Path = Path("/dev")) -> tuple[str, ...]:
    """The machine's names ('0', '1', a UUID) of the GPUs this process may use: CUDA_VISIBLE_DEVICES, else all."""
    visible = (os.environ if environment is None else environment).get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        entries = [entry.strip() for entry in visible.split(",")]
        usable = entries.index("-1") if "-1" in entries else len(entries)
        return tuple(entry for entry in entries[:usable] if entry)
    try:
        numbers = [match.group(1) for path in nodes.iterdir() if (match := _GPU_NODE.match(path.name))]
    except OSError:
        return ()
    return tuple(sorted(numbers, key=int))


def candidate_devices(setting: str) -> tuple[str, ...]:
    """machine.device → the devices that may serve it, best first: 'auto' takes any GPU, else the CPU; 'cuda' any GPU.

    GPUs carry the machine's number, whatever CUDA_VISIBLE_DEVICES makes of it inside a process.
    """
    if setting == "cpu":
        return ("cpu",)
    gpus = visible_gpus()
    if setting == "auto":
        return tuple(f"cuda:{name}" for name in gpus) or ("cpu",)
    if setting == "cuda":
        return tuple(f"cuda:{name}" for name in gpus) or ("cuda:0",)
    index = int(setting.partition(":")[2])
    return (f"cuda:{gpus[index] if index < len(gpus) else index}",)


def device_lock_path(store_root: Path, device: str) -> Path:
    """`<runs>/.locks/<device>.lock`."""
    return store_root / ".locks" / f"{_UNSAFE.sub('-', device)}.lock"


def try_device(store_root: Path, setting: str) -> tuple[str, FileLock] | None:
    """The first free candidate and its lock, or None while all are taken."""
    for device in candidate_devices(setting):
        path = device_lock_path(store_root, device)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = try_lock(path, patience_s=0.1)
        if lock is not None:
            return device, lock
    return None


def is_busy(store_root: Path, device: str) -> bool:
    """True while a run of this runs folder holds the device."""
    return is_locked(device_lock_path(store_root, device))


def in_words(setting: str) -> str:
    """'the CPU', 'GPU 0', 'a GPU'."""
    candidates = candidate_devices(setting)
    if candidates == ("cpu",):
        return "the CPU"
    return f"GPU {candidates[0].partition(':')[2]}" if len(candidates) == 1 else "a GPU"
