"""The GPUs of this machine and who is on them, through NVML: facts about the hardware without PyTorch or CUDA.

`LAB_NVML_RECORDING` names a JSON file that stands in for the driver: the same code reads a recorded box. Its form, one
object a GPU: {"gpus": [{"uuid", "name", "memory_total", "memory_used", "memory_reserved", "utilization" (percent),
"temperature", "power" (milliwatt), "processes": [{"pid", "memory" (bytes or null)}]}]}. It is read at every look; with
"memory_error" instead, the question for memory fails with that number of NVML, with "process_error" that for processes.
Beside "gpus": "pids" = "host" where the pids are of another PID namespace, as in a container.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import pwd
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from core.machine.attempts import OwnProcess, computes_for_screens, own_processes, run_of

RECORDING_VARIABLE = "LAB_NVML_RECORDING"
MAX_COMMAND = 80
CONTEXT_BYTES = 700_000_000  # what the driver may book on nobody for a process of ours
PATIENCE_S = 5.0  # for a driver that may hang
_GONE = (15, 16)  # NVML_ERROR_GPU_IS_LOST, NVML_ERROR_RESET_REQUIRED; after any other error the GPU may well work
_FIRST_PIDS = "pid:[4026531836]"  # the PID namespace of the machine itself, by the kernel's own number
_GPU_NODE = re.compile(r"^(?:nvidia(\d+)|nvhost-gpu|dxg)$")
_LOCK = threading.Lock()  # of the two below


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

    memory_total_bytes: 0 when not told. memory_reserved_bytes: what the driver keeps for itself and counts as used.
    processes_told: False where the driver does not say who is on it. problem: why it could not be read.
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
    processes_told: bool = True
    problem: str = ""

    @property
    def visible(self) -> str:
        """What CUDA_VISIBLE_DEVICES calls it: its UUID, or its number where the driver does not tell that."""
        return self.uuid if self.uuid.startswith(("GPU-", "MIG-")) else str(self.index)


class _Look(threading.Thread):
    """One look at all GPUs. It may hang in the driver, so it is a thread that nobody has to wait for."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.found: list[Gpu] = []

    def run(self) -> None:
        nvml = _nvml()
        count = _told(nvml.nvmlDeviceGetCount) if nvml else 0
        outside = nvml.pids_are_foreign() if isinstance(nvml, _Recorded) else _pids_are_foreign()
        lab = own_processes() if count and outside else []
        self.found = [_read(nvml, index, outside, lab) for index in range(count or 0)]


_last: list[Gpu] = []  # what the last look that ended saw
_current: _Look | None = None  # one that has not ended yet


def read_gpus(*, patience_s: float = PATIENCE_S) -> list[Gpu]:
    """The GPUs this process may use (CUDA_VISIBLE_DEVICES), in the driver's order; empty without a driver.

    A driver that does not answer within `patience_s` seconds is not waited for again until it does: meanwhile every GPU
    of the look before has that as its problem.
    """
    global _last, _current
    with _LOCK:
        if _current is None:
            _current = _Look()
            _current.start()
            _current.join(patience_s)
        if _current.is_alive():
            return [replace(gpu, problem="its driver does not answer") for gpu in _visible(_last)]
        _last, _current = _current.found, None
        return _visible(_last)


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
    """Bytes that are not ours: what others hold or, where the driver hides some processes, what is used beside ours.

    What nobody knows to be others' does not count.
    """
    ours = [process for process in gpu.processes if process.is_ours]
    others = [process for process in gpu.processes if not process.is_ours]
    told = sum(process.memory_bytes or 0 for process in others)
    if not gpu.processes_told or any(process.memory_bytes is None for process in ours):
        return told  # nobody knows whose the rest is
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


def _read(nvml: Any, index: int, outside: bool, lab: Sequence[OwnProcess]) -> Gpu:
    handle = None
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = _memory(nvml, handle)
    except Exception as error:  # a GPU that fell off the bus must not hide the others
        uuid = handle and _told(lambda: _text(nvml.nvmlDeviceGetUUID(handle)))
        return Gpu(
            index=index,
            uuid=uuid or f"GPU {index}",
            name=f"GPU {index}",
            memory_used_bytes=0,
            memory_total_bytes=0,
            problem=f"cannot be read: {error}",
        )
    listings = [
        _told(functools.partial(getattr(nvml, listing), handle))
        for listing in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses")
    ]
    processes: dict[int, GpuProcess] = {}
    for entry in itertools.chain.from_iterable(listing or [] for listing in listings):
        processes.setdefault(entry.pid, _process(entry.pid, entry.usedGpuMemory, outside=outside))
    gpu = Gpu(
        index=index,
        uuid=_told(lambda: _text(nvml.nvmlDeviceGetUUID(handle))) or f"GPU {index}",
        name=_told(lambda: _text(nvml.nvmlDeviceGetName(handle))) or f"GPU {index}",
        utilization=_told(lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100),
        memory_used_bytes=int(memory.used),
        memory_total_bytes=int(memory.total),
        memory_reserved_bytes=int(getattr(memory, "reserved", 0) or 0),
        temperature_c=_told(lambda: float(nvml.nvmlDeviceGetTemperature(handle, 0))),
        power_w=_told(lambda: float(nvml.nvmlDeviceGetPowerUsage(handle)) / 1000),
        processes=tuple(sorted(processes.values(), key=lambda process: -(process.memory_bytes or 0))),
        processes_told=listings[0] is not None,
    )
    return _with_own(gpu, lab) if lab else gpu


def _with_own(gpu: Gpu, lab: Sequence[OwnProcess]) -> Gpu:
    """The GPU with what the lab itself started there, where the driver's pids are those of another namespace.

    Each run that was given this GPU, and the process that computes for screens, is one process on it. Which of the
    driver's it is cannot be known: the largest, so that only what must be a stranger's counts as that.
    """
    listed = {(process.run_id, process.computes_for_screens) for process in gpu.processes if process.is_ours}
    mine: dict[tuple[str, bool], OwnProcess] = {}
    for each in lab:
        key = (each.run_id, not each.run_id)
        if key not in listed and (each.visible is None or gpu.visible in each.visible):
            mine.setdefault(key, each)
    processes = list(gpu.processes)
    unknown = [process for process in processes if not process.is_ours]  # largest first
    for each in mine.values():
        if unknown:
            stranger = unknown.pop(0)
            processes[processes.index(stranger)] = _process(each.pid, stranger.memory_bytes)
        else:
            processes.append(_process(each.pid, None))
    return replace(gpu, processes=tuple(processes))


def _pids_are_foreign() -> bool:
    """Whether this process lives in a PID namespace of its own, as in a container: the driver's pids are the host's."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) != _FIRST_PIDS
    except OSError:
        return False


def _memory(nvml: Any, handle: Any) -> Any:
    """Version 2 tells the reserved part; older drivers do not have it. Zeros where the driver keeps it to itself."""
    version = getattr(nvml, "nvmlMemory_v2", None)
    found = _told(lambda: nvml.nvmlDeviceGetMemoryInfo(handle, version=version)) if version else None
    try:
        return found or nvml.nvmlDeviceGetMemoryInfo(handle)
    except Exception as error:
        if getattr(error, "value", None) in _GONE:
            raise
        return SimpleNamespace(used=0, total=0)


def _process(pid: int, memory: int | None, *, outside: bool = False) -> GpuProcess:
    """outside: the pid may be of another namespace, and somebody else's than here, unless it carries our token."""
    run_id, draws = run_of(pid), computes_for_screens(pid)
    if outside and not (run_id or draws):
        return GpuProcess(
            pid=pid, user="unknown user", command=f"pid {pid} outside this container", memory_bytes=memory
        )
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
        run_id=run_id,
        computes_for_screens=draws,
    )


def shortened(command: str) -> str:
    """A command line as people see it: printable, 80 characters at most."""
    words = "".join(character if character.isprintable() else "?" for character in command)
    return words if len(words) <= MAX_COMMAND else words[: MAX_COMMAND - 1] + "…"


def _visible(found: Sequence[Gpu]) -> list[Gpu]:
    """Those that CUDA_VISIBLE_DEVICES chooses. As CUDA reads it, what follows an entry that names none is left out."""
    entries = _visible_entries(os.environ)
    if entries is None:
        return list(found)
    named = [[gpu for gpu in found if _names(entry, gpu)] for entry in entries]
    chosen = itertools.chain.from_iterable(itertools.takewhile(bool, named))
    return sorted(dict.fromkeys(chosen), key=lambda gpu: gpu.index)


def _names(entry: str, gpu: Gpu) -> bool:
    """Whether an entry of CUDA_VISIBLE_DEVICES, a number or the beginning of a UUID, names this GPU."""
    return int(entry) == gpu.index if entry.isdecimal() else gpu.uuid.startswith(entry)


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
        told = json.loads(path.read_text())
        self.gpus: list[dict[str, Any]] = told["gpus"]
        self.pids = told.get("pids")

    def pids_are_foreign(self) -> bool:
        return bool(self.pids == "host")

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
        if "process_error" in gpu:
            raise _RecordedError(gpu["process_error"])
        return [SimpleNamespace(pid=each["pid"], usedGpuMemory=each["memory"]) for each in gpu.get("processes", [])]

    def nvmlDeviceGetGraphicsRunningProcesses(self, gpu: dict[str, Any]) -> list[SimpleNamespace]:
        return []
