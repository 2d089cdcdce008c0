"""The GPUs of this machine and who is on them, through NVML: facts about the hardware without PyTorch or CUDA.

`LAB_NVML_RECORDING` names a JSON file that stands in for the driver: the same code reads a recorded box. Its form, one
object a GPU: {"gpus": [{"uuid", "name", "memory_total", "memory_used", "memory_reserved", "utilization" (percent),
"temperature", "power" (milliwatt), "processes": [{"pid", "memory" (bytes or null)}]}]}. It is read at every look; with
"memory_error" instead, the question for memory fails with that number of NVML.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import pwd
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from core.machine.attempts import computes_for_screens, run_of

RECORDING_VARIABLE = "LAB_NVML_RECORDING"
MAX_COMMAND = 80
CONTEXT_BYTES = 700_000_000  # what the driver may book on nobody for a process of ours
_UNTOLD = (3, 4)  # NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NO_PERMISSION: the GPU works, its driver keeps this to itself
_GPU_NODE = re.compile(r"^(?:nvidia(\d+)|nvhost-gpu|dxg)$")
_LOCK = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class GpuProcess:
    """A process on a GPU. run_id: of our run, or ''. memory_bytes: None when the driver hides it.

    computes_for_screens: it is the lab's own, and gives way to runs.
    """

    pid: int
    user: str
    command: str
    memory_bytes: int | None
    run_id: str = ""
    computes_for_screens: bool = False

    @property
    def is_ours(self) -> bool:
        """Of a run of the lab, or of its screens."""
        return bool(self.run_id) or self.computes_for_screens


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
    return [gpu for gpu in found if _is_visible(gpu)]


def visible_gpus(environment: Mapping[str, str] = os.environ, nodes: Path = Path("/dev")) -> tuple[str, ...]:
    """The machine's names ('0', '1', a UUID) of the GPUs this process may use, from device files alone.

    CUDA_VISIBLE_DEVICES chooses among them; where there is no GPU, it names none.
    """
    try:
        found = [match for path in nodes.iterdir() if (match := _GPU_NODE.match(path.name))]
    except OSError:
        found = []
    entries = _visible_entries(environment)
    if entries is not None:
        return entries if found else ()
    return tuple(sorted((match.group(1) for match in found if match.group(1)), key=int))


def foreign_memory_bytes(gpu: Gpu) -> int:
    """Bytes that are not ours: what others hold or, where the driver hides processes, what is used beside ours."""
    ours = [process for process in gpu.processes if process.is_ours]
    others = [process for process in gpu.processes if not process.is_ours]
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
    """Version 2 tells the reserved part; older drivers do not have it. Zeros where the driver keeps it to itself."""
    version = getattr(nvml, "nvmlMemory_v2", None)
    found = _told(lambda: nvml.nvmlDeviceGetMemoryInfo(handle, version=version)) if version else None
    try:
        return found or nvml.nvmlDeviceGetMemoryInfo(handle)
    except Exception as error:
        if getattr(error, "value", None) not in _UNTOLD:
            raise
        return SimpleNamespace(used=0, total=0)


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
    return GpuProcess(
        pid=pid,
        user=user,
        command=shortened(words) or f"pid {pid}",
        memory_bytes=memory,
        run_id=run_of(pid),
        computes_for_screens=computes_for_screens(pid),
    )


def shortened(command: str) -> str:
    """A command line as people see it: printable, 80 characters at most."""
    words = "".join(character if character.isprintable() else "?" for character in command)
    return words if len(words) <= MAX_COMMAND else words[: MAX_COMMAND - 1] + "…"


def _is_visible(gpu: Gpu) -> bool:
    entries = _visible_entries(os.environ)
    return entries is None or any(
        int(entry) == gpu.index if entry.isdigit() else gpu.uuid.startswith(entry) for entry in entries
    )


def _visible_entries(environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """CUDA_VISIBLE_DEVICES as CUDA reads it: what follows an empty or negative entry does not count. None: not set."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return None
    return tuple(itertools.takewhile(lambda entry: entry not in ("", "-1"), map(str.strip, visible.split(","))))


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


class _RecordedError(Exception):
    """NVML's own error; value: its number."""

    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


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
        if "memory_error" in gpu:
            raise _RecordedError(gpu["memory_error"])
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
