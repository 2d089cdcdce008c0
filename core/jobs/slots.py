"""Places where a run can be put: slots of each GPU and of the CPU, and which of them a run may take."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from core.config.schema import MachineSettings
from core.machine import devices, gpus

CPU = "cpu"


@dataclass(frozen=True, kw_only=True)
class Place:
    """One device. name: the GPU's UUID or 'cpu'. title: for people. visible: its CUDA_VISIBLE_DEVICES.

    capacity: runs at a time. problem: why it is not for us now, in words; '' when it is.
    """

    name: str
    title: str
    visible: str
    capacity: int
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Where a run would go. slots: empty while it must wait. wants: places it may take, full or not."""

    slots: tuple[str, ...] = ()
    wants: frozenset[str] = frozenset()
    waits_for: str = ""


def find_places(machine: MachineSettings) -> list[Place]:
    """The GPUs of this machine, in order, and the CPU. A GPU that others fill has a problem."""
    found = []
    known = gpus.read_gpus()
    for gpu in known:
        problem = ""
        if not gpus.is_free_for_us(gpu, machine.foreign_memory_mb):
            strangers = sorted({process.user for process in gpu.processes if not process.run_id})
            who = " and ".join(strangers[:3]) or "somebody else"
            held = gpus.foreign_memory_bytes(gpu) / 1e9
            problem = f"GPU {gpu.index} is used by {who} ({held:.1f} GB), not by the lab"
        found.append(
            Place(
                name=gpu.uuid,
                title=f"GPU {gpu.index}",
                visible=gpu.uuid,
                capacity=machine.slots_per_gpu,
                problem=problem,
            )
        )
    if not known:  # a driver that NVML cannot talk to
        found = [
            Place(name=f"GPU-{name}", title=f"GPU {name}", visible=name, capacity=machine.slots_per_gpu)
            for name in devices.visible_gpus()
        ]
    return [*found, Place(name=CPU, title="the CPU", visible="", capacity=machine.cpu_slots)]


def choose(
    device: str,
    num_processes: int,
    places: Sequence[Place],
    taken: Collection[str],
    reserved: Collection[str] = frozenset(),
) -> Choice:
    """The slots a run gets now, or what it waits for.

    device: machine.device; 'auto' wants any GPU, or the CPU where there is none. num_processes: one GPU each; on the
    CPU they share one slot. taken: leased slots. reserved: places that a run before it in the queue waits for.
    """
    graphics = [place for place in places if place.name != CPU]
    if device == CPU or (device == "auto" and not graphics):
        candidates, count = [place for place in places if place.name == CPU], 1
    elif device in ("auto", "cuda"):
        candidates, count = graphics, num_processes
    else:
        candidates, count = graphics[int(device.partition(":")[2]) :][:1], num_processes
    wants = frozenset(place.name for place in candidates)
    if len(candidates) < count:
        there = f"has {len(graphics)}" if graphics else "has none"
        return Choice(wants=wants, waits_for=f"{count if count > 1 else 'a'} GPU{'s' if count > 1 else ''} ({there})")
    picked, problems = [], []
    for place in candidates:
        free = [slot for slot in slots_of(place) if slot not in taken]
        if place.name in reserved or not free:
            continue
        if place.problem:
            problems.append(place.problem)
            continue
        picked.append((len(free), free[0]))
    picked.sort(key=lambda pair: -pair[0])  # the emptiest first; equal ones in the machine's order
    if len(picked) >= count:
        return Choice(slots=tuple(slot for _, slot in picked[:count]), wants=wants)
    names = candidates[0].title if len(candidates) == 1 else f"a free GPU of {len(candidates)}"
    return Choice(wants=wants, waits_for="; ".join(problems) or names)


def slots_of(place: Place) -> list[str]:
    """'GPU-…/0', 'cpu/1'."""
    return [f"{place.name}/{number}" for number in range(place.capacity)]


def place_of(slot: str) -> str:
    """The place of a slot."""
    return slot.rpartition("/")[0]
