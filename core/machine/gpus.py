"""The GPUs of this machine and who is on them, through NVML: facts about the hardware without PyTorch or CUDA.

`LAB_NVML_RECORDING` names a JSON file that stands in for the driver: the same code reads a recorded box. Its form, one
object a GPU: {"gpus": [{"uuid", "name", "memory_total", "memory_used", "memory_reserved", "utilization" (percent),
"temperature", "power" (milliwatt), "processes": [{"pid", "memory" (bytes or null)}]}]}. It is read at every look.
"""

from __future__ import annotations

import functools
import json
import os
import pwd
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from core.machine.attempts import TOKEN_VARIABLE

RECORDING_VARIABLE = "LAB_NVML_RECORDING"
MAX_COMMAND = 80
CONTEXT_BYTES = 700_000_000  # what the driver may book on nobody for a process of ours
_LOCK = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class GpuProcess:
    """A process on a GPU. run_id: of our run, '' for somebody else's. memory_bytes: None when the driver hides it."""

    pid: int
    user: str
    command: str
    memory_bytes: int | None
    run_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU, now. utilization: share of the last second in which it worked, 0 to 1. None: not told by the driver.

    memory_reserved_bytes: what the driver keeps for itself and counts as used. problem: why it could not be read.
    """

    index: int
    uuid: str
    name: str
    memory_used_bytes: int
    memory_total_bytes: int
    utilization: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    memory_reserved_bytes: int = 0
    processes: tuple[GpuProcess, ...] = ()
    problem: str = ""


def read_gpus() -> list[Gpu]:
    """The GPUs this process may use (CUDA_VISIBLE_DEVICES), in the driver's order; empty without a driver."""
    with _LOCK:
        nvml = _nvml()
        if nvml is None:
            return []
        found = []
        try:
            count = nvml.nvmlDeviceGetCount()
        except Exception:  # NVML raises its own classes, which the recording does not have
            return []
        for index in range(count):
            found.append(_read(nvml, index))
    return [gpu for gpu in found if _is_visible(gpu, [other.uuid for other in found])]


def foreign_memory_bytes(gpu: Gpu) -> int:
    """Bytes that are not ours: what others hold or, where the driver hides processes, what is used beside ours."""
    ours = [process for process in gpu.processes if process.run_id]
    others = [process for process in gpu.processes if not process.run_id]
    told = sum(process.memory_bytes or 0 for process in others)
    if any(process.memory_bytes is None for process in ours):
        return told  # ours cannot be taken off the sum
    rest = gpu.memory_used_bytes - gpu.memory_reserved_bytes - sum(process.memory_bytes or 0 for process in ours)
    return max(told, rest - CONTEXT_BYTES * len(ours), 0)


def is_free_for_us(gpu: Gpu, foreign_memory_mb: float) -> bool:
    """False when others hold more than `foreign_memory_mb` megabytes, or the GPU cannot be read."""
    return not gpu.problem and foreign_memory_bytes(gpu) <= foreign_memory_mb * 1e6


def record() -> dict[str, Any]:
    """What NVML says now, in the form of a recording."""
    return {
        "gpus": [
            {
                "uuid": gpu.uuid,
                "name": gpu.name,
                "memory_total": gpu.memory_total_bytes,
                "memory_used": gpu.memory_used_bytes,
                "memory_reserved": gpu.memory_reserved_bytes,
                "utilization": None if gpu.utilization is None else round(gpu.utilization * 100),
                "temperature": gpu.temperature_c,
                "power": None if gpu.power_w is None else round(gpu.power_w * 1000),
                "processes": [{"pid": process.pid, "memory": process.memory_bytes} for process in gpu.processes],
            }
            for gpu in read_gpus()
        ]
    }


def _read(nvml: Any, index: int) -> Gpu:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid, name = _text(nvml.nvmlDeviceGetUUID(handle)), _text(nvml.nvmlDeviceGetName(handle))
        memory = _memory(nvml, handle)
    except Exception as error:  # a GPU that fell off the bus must not hide the others
        return Gpu(
            index=index,
            uuid=f"GPU-unreadable-{index}",
            name=f"GPU {index}",
            memory_used_bytes=0,
            memory_total_bytes=0,
            problem=f"cannot be read: {error}",
        )
    utilization = _told(lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100)
    power = _told(lambda: float(nvml.nvmlDeviceGetPowerUsage(handle)) / 1000)
    processes: dict[int, GpuProcess] = {}
    for listing in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
        for entry in _told(functools.partial(getattr(nvml, listing), handle)) or []:
            processes.setdefault(entry.pid, _process(entry.pid, entry.usedGpuMemory))
    return Gpu(
        index=index,
        uuid=uuid,
        name=name,
        utilization=utilization,
        memory_used_bytes=int(memory.used),
        memory_total_bytes=int(memory.total),
        memory_reserved_bytes=int(getattr(memory, "reserved", 0) or 0),
        temperature_c=_told(lambda: float(nvml.nvmlDeviceGetTemperature(handle, 0))),
        power_w=power,
        processes=tuple(sorted(processes.values(), key=lambda process: -(process.memory_bytes or 0))),
    )


def _memory(nvml: Any, handle: Any) -> Any:
    """Version 2 tells the reserved part; older drivers do not have it."""
    version = getattr(nvml, "nvmlMemory_v2", None)
    found = _told(lambda: nvml.nvmlDeviceGetMemoryInfo(handle, version=version)) if version else None
    return found or nvml.nvmlDeviceGetMemoryInfo(handle)


def _process(pid: int, memory: int | None) -> GpuProcess:
    folder = Path("/proc") / str(pid)
    try:
        user = pwd.getpwuid(folder.stat().st_uid).pw_name
    except KeyError:
        user = str(folder.stat().st_uid)
    except OSError:
        user = "unknown user"
    try:
        words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        words = ""
    command = "".join(character if character.isprintable() else "?" for character in words)
    command = command if len(command) <= MAX_COMMAND else command[: MAX_COMMAND - 1] + "…"
    return GpuProcess(pid=pid, user=user, command=command or f"pid {pid}", memory_bytes=memory, run_id=run_of(pid))


def run_of(pid: int) -> str:
    """The run whose attempt this process belongs to, by its environment; '' for anybody else's."""
    try:
        entries = (Path("/proc") / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    token = next((entry for entry in entries if entry.startswith(TOKEN_VARIABLE.encode() + b"=")), b"")
    return token.partition(b"=")[2].decode(errors="replace").rpartition(".")[0]


def _is_visible(gpu: Gpu, uuids: list[str]) -> bool:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return True
    for entry in (part.strip() for part in visible.split(",")):
        if entry in ("", "-1"):
            return False
        if (entry.isdigit() and int(entry) == gpu.index) or (not entry.isdigit() and gpu.uuid.startswith(entry)):
            return True
    return False


def _told(ask: Callable[[], Any]) -> Any:
    """The answer, or None where the driver does not tell."""
    try:
        return ask()
    except Exception:  # see read_gpus
        return None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _nvml() -> Any:
    """pynvml, started, or the recording; None where there is neither."""
    recording = os.environ.get(RECORDING_VARIABLE)
    return _Recorded(Path(recording)) if recording else _started_nvml()


@functools.lru_cache(maxsize=1)
def _started_nvml() -> Any:
    if not Path("/proc/driver/nvidia").exists() and not Path("/dev/nvidiactl").exists():
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        return pynvml
    except Exception:  # no package, no library, or a driver of another version
        return None


class _Recorded:
    """The functions of pynvml that are used here, answered from a file."""

    nvmlMemory_v2 = 2

    def __init__(self, path: Path) -> None:
        self.gpus: list[dict[str, Any]] = json.loads(path.read_text())["gpus"]

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        return self.gpus[index]

    def nvmlDeviceGetUUID(self, gpu: dict[str, Any]) -> str:
        return str(gpu["uuid"])

    def nvmlDeviceGetName(self, gpu: dict[str, Any]) -> str:
        return str(gpu["name"])

    def nvmlDeviceGetMemoryInfo(self, gpu: dict[str, Any], version: int = 1) -> SimpleNamespace:
        return SimpleNamespace(
            total=gpu["memory_total"], used=gpu["memory_used"], reserved=gpu.get("memory_reserved", 0)
        )

    def nvmlDeviceGetUtilizationRates(self, gpu: dict[str, Any]) -> SimpleNamespace:
        return SimpleNamespace(gpu=gpu["utilization"])

    def nvmlDeviceGetTemperature(self, gpu: dict[str, Any], sensor: int) -> float:
        return float(gpu["temperature"])

    def nvmlDeviceGetPowerUsage(self, gpu: dict[str, Any]) -> float:
        return float(gpu["power"])

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: dict[str, Any]) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=each["pid"], usedGpuMemory=each["memory"]) for each in gpu.get("processes", [])]

    def nvmlDeviceGetGraphicsRunningProcesses(self, gpu: dict[str, Any]) -> list[SimpleNamespace]:
        return []
