"""Devices and their slots, GPUs and the CPU, and which of them a run may take."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.config.site import SiteSettings
from core.machine import gpus
from core.machine.memory import read_memory
from core.machine.torch_gpus import usable_gpus
from core.weighing import Need, is_short, missing_gpus

CPU = "cpu"
PASSED = "no run's end makes so much room, so runs behind it may start first"


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device. name: the GPU's UUID or 'cpu'. title: for people. visible: its CUDA_VISIBLE_DEVICES.

    capacity: runs at a time. problem: why it is not for us now, in words; '' when it is. free_bytes: of its memory, for
    the CPU the machine's; None where nobody tells. reach_bytes: what would be free if all runs of the lab had ended.
    held: run → bytes that it has of a GPU's memory. draws: the lab computes for its screens there, and gives way.
    """

    name: str
    title: str
    visible: str
    capacity: int
    problem: str = ""
    free_bytes: int | None = None
    reach_bytes: int | None = None
    held: Mapping[str, int] = field(default_factory=dict)
    draws: bool = False


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Where a run would go. slots: empty while it must wait. wants: devices it may take, full or not.

    keeps: those that no run behind it may take while it waits; none when the end of no run would let it start.
    lacks_memory: a place is free, and its memory is not.
    """

    slots: tuple[str, ...] = ()
    wants: frozenset[str] = frozenset()
    keeps: frozenset[str] = frozenset()
    waits_for: str = ""
    lacks_memory: bool = False


def find_devices(site: SiteSettings) -> list[Device]:
    """The GPUs of this machine, in order, and the CPU. A GPU that others fill has a problem."""
    found = []
    known, blind = usable_gpus()
    for gpu in known:
        problem = f"GPU {gpu.index}: {gpu.problem}" if gpu.problem else ""
        if not problem and not gpus.is_free_for_us(gpu, site.foreign_memory_mb):
            strangers = sorted({process.user for process in gpu.processes if not process.is_ours})
            who = " and ".join(strangers[:3]) or "another person"
            held = gpus.foreign_memory_bytes(gpu) / 1e9
            problem = f"GPU {gpu.index} is used by {who} ({held:.1f} GB), not by the lab"
        free = gpu.memory_total_bytes - gpu.memory_used_bytes if gpu.memory_total_bytes else None
        ours = sum(_told(gpu, process) for process in gpu.processes if process.is_ours)
        found.append(
            Device(
                name=gpu.uuid,
                title=f"GPU {gpu.index}",
                visible=gpu.visible,
                capacity=site.slots_per_gpu,
                problem=problem,
                free_bytes=free,
                reach_bytes=None if free is None else free + ours,
                held=_held(gpu),
                draws=any(process.computes_for_screens for process in gpu.processes),
            )
        )
    found += [  # of a driver that NVML cannot talk to
        Device(name=f"GPU-{name}", title=f"GPU {name}", visible=name, capacity=site.slots_per_gpu) for name in blind
    ]
    free = read_memory().free
    cpu = Device(name=CPU, title="the CPU", visible="", capacity=site.cpu_slots, free_bytes=free, reach_bytes=free)
    return [*found, cpu]


def _held(gpu: gpus.Gpu) -> dict[str, int]:
    """Run → bytes on this GPU."""
    held: dict[str, int] = {}
    for process in gpu.processes:
        if process.run_id:
            held[process.run_id] = held.get(process.run_id, 0) + _told(gpu, process)
    return held


def _told(gpu: gpus.Gpu, process: gpus.GpuProcess) -> int:
    """Bytes of a process on this GPU; all there is where the driver hides them."""
    return gpu.memory_total_bytes if process.memory_bytes is None else process.memory_bytes


def choose(
    setting: str,
    num_processes: int,
    devices: Sequence[Device],
    taken: Collection[str],
    reserved: Collection[str] = frozenset(),
    needs: Callable[[bool], Need | None] = lambda on_gpu: None,
) -> Choice:
    """The slots a run gets now, or what it waits for.

    setting: machine.device; 'auto' wants any GPU, or the CPU where there is none. num_processes: one GPU each; on the
    CPU they share one slot. taken: leased slots. reserved: devices that a run before it in the queue waits for.
    needs: see `core.jobs.memory_needs`; a device without so much free memory has to be waited for. It is kept for the
    run only where the end of runs makes room: strangers may hold their memory for weeks.
    """
    graphics = [device for device in devices if device.name != CPU]
    if setting == CPU or (setting == "auto" and not graphics):
        candidates, count = [device for device in devices if device.name == CPU], 1
    elif setting in ("auto", "cuda"):
        candidates, count = graphics, num_processes
    else:
        candidates, count = graphics[int(setting.partition(":")[2]) :][:1], num_processes
    wants = frozenset(device.name for device in candidates)
    if missing := missing_gpus(setting, num_processes, len(graphics)):
        return Choice(wants=wants, waits_for=missing)
    host = next((device for device in devices if device.name == CPU), None)
    need = needs(candidates != [host])
    picked, problems, shortages, keeps = [], [], [], set()
    for device in candidates:
        free = [slot for slot in slots_of(device) if slot not in taken]
        reach = replace(device, free_bytes=device.reach_bytes)
        if not device.problem and not _short(reach, need, host.reach_bytes if host else None):
            keeps.add(device.name)
        if device.name in reserved or not free:
            continue
        if device.problem:
            problems.append(device.problem)
            continue
        if shortage := _short(device, need, host.free_bytes if host else None):
            shortages.append(shortage)
            continue
        picked.append((len(free), free[0]))
    picked.sort(key=lambda pair: -pair[0])  # the emptiest first; equal ones in the machine's order
    if len(picked) >= count:
        return Choice(slots=tuple(slot for _, slot in picked[:count]), wants=wants, keeps=frozenset(keeps))
    names = candidates[0].title if len(candidates) == 1 else f"a free GPU of {len(candidates)}"
    if len(keeps) < count:
        keeps.clear()
    passed = [PASSED] if shortages and not keeps else []
    words = "; ".join(dict.fromkeys([*problems, *shortages, *passed])) or names
    return Choice(wants=wants, keeps=frozenset(keeps), waits_for=words, lacks_memory=bool(shortages))


def _short(device: Device, need: Need | None, host_free: int | None) -> str:
    """What memory it lacks, in words; '' when there is enough."""
    if need is None:
        return ""
    where = f"memory of {device.title}" + (", where the lab computes for a screen," if device.draws else "")
    on_gpu = device.name != CPU and is_short(need.gpu, device.free_bytes, where)
    return on_gpu or is_short(need.host, host_free)


def slots_of(device: Device) -> list[str]:
    """'GPU-…/0', 'cpu/1'."""
    return [f"{device.name}/{number}" for number in range(device.capacity)]


def device_of(slot: str) -> str:
    """Name of a slot's device."""
    return slot.rpartition("/")[0]
