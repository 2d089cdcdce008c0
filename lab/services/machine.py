"""The machine as the screens see it: who has which device, what waits, the disk. Read at most every second or two and
shared by all sessions, so that ten open tabs cost as much as one. Never imports PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import streamlit as st

from core.config.site import SiteSettings
from core.jobs import disk, queue_order, queue_view, telemetry
from core.jobs.disk import CacheEntry, CleanupPlan, RunSize
from core.jobs.disk_quota import PersonUse, use_by_person
from core.jobs.queue_entry import Node, QueueEntry, SupervisorState
from core.jobs.slots import CPU, device_of
from core.jobs.telemetry import Forecast
from core.machine import gpus, snapshot
from core.machine.gpus import Gpu, GpuProcess
from core.machine.snapshot import Machine
from core.runs import trash
from core.runs.store import RunStore
from core.runs.trash import Trashed
from core.words import count, size
from lab.services.run_actions import look_again, queue
from lab.services.runs import open_store
from lab.services.settings import current_site
from lab.words import plain

CleanupChoice = Literal["old checkpoints", "failed runs", "unused caches", "trash"]
Move = Literal["first", "up", "down", "last"]
Verdict = Literal["free", "partly free", "ours", "taken", "unreadable", "no device"]
CPU_NAME = "CPU"


@dataclass(frozen=True, kw_only=True)
class DeviceCard:
    """One device: what it is, how full, who is on it, and whether a run of ours may start there.

    verdict: 'free', 'partly free' (room beside a run), 'ours' (no place left), 'taken' (others fill it),
    'unreadable', 'no device' (PyTorch cannot use it).
    gpus: (in use, all) of a machine of a cluster, of which nothing else is known.
    drawings: the lab's own processes that compute for screens.
    why: the same in words. memory_total_bytes: 0 when nobody knows. What is neither ours nor foreign is the driver's.
    """

    name: str
    model: str
    verdict: Verdict
    why: str
    utilization: float | None
    memory_used_bytes: int
    memory_total_bytes: int
    ours_bytes: int = 0
    foreign_bytes: int = 0
    temperature_c: float | None = None
    power_w: float | None = None
    tenants: tuple[QueueEntry, ...] = ()
    places: int = 1
    strangers: tuple[GpuProcess, ...] = ()
    drawings: tuple[GpuProcess, ...] = ()
    gpus: tuple[int, int] | None = None

    @property
    def is_free(self) -> bool:
        """True when a run of ours may start here now."""
        return self.verdict in ("free", "partly free")


def machine_now() -> Machine:
    """GPUs, CPU, memory and disk, at most two seconds old."""
    return _machine(str(open_store().root))


@st.cache_resource(ttl=2, max_entries=4, show_spinner=False)
def _machine(root: str) -> Machine:
    return snapshot.read_machine(Path(root))


def supervisor() -> SupervisorState:
    """Who serves the queue; starts one when there is none. Raises LabError."""
    store = open_store()
    queue_order.ensure_supervisor(store)
    return queue_view.supervisor_state(store)


def cards() -> list[DeviceCard]:
    """A card a GPU, or one for the CPU where there is none; beside GPUs one for the CPU while runs are on it.

    Where runs start on other machines, a card for each of these.
    """
    elsewhere = queue_view.nodes(open_store())
    if elsewhere is not None:
        return [node_card(node, [entry for entry in queue() if entry.slots]) for node in elsewhere]
    now, site = machine_now(), current_site()
    live = [entry for entry in queue() if entry.slots]
    found = [gpu_card(gpu, live, site.foreign_memory_mb, site.slots_per_gpu) for gpu in now.gpus]
    found += [blind_card(name, live, site.slots_per_gpu) for name in now.blind_gpus]
    useless = now.gpus_problem
    if useless:
        found = [replace(card, verdict="no device", why=f"PyTorch cannot use it: {useless}") for card in found]
    cpu = cpu_card(now, live, site.cpu_slots, alone=not found)
    return found + ([cpu] if cpu.tenants or useless or not found else [])


def gpu_card(gpu: Gpu, live: list[QueueEntry], foreign_memory_mb: float, places: int) -> DeviceCard:
    """The card of one GPU; `live` are entries that hold slots."""
    tenants = _on(gpu.uuid, live)
    strangers = tuple(process for process in gpu.processes if not process.is_ours)
    foreign = gpus.foreign_memory_bytes(gpu)
    verdict, why = _verdict(tenants, places)
    if not gpus.is_free_for_us(gpu, foreign_memory_mb):
        names = (
            " and ".join(sorted({process.user or "an unknown account" for process in strangers}))
            or "an account that cannot be read"
        )
        verdict, why = (
            "taken",
            f"held by {names} with {size(foreign)}; runs start below {size(foreign_memory_mb * 1e6)}",
        )
    if gpu.problem:
        verdict, why = "unreadable", gpu.problem
    return DeviceCard(
        name=f"GPU {gpu.index}",
        model=gpu.name,
        verdict=verdict,
        why=why,
        utilization=gpu.utilization,
        memory_used_bytes=gpu.memory_used_bytes,
        memory_total_bytes=gpu.memory_total_bytes,
        ours_bytes=sum(process.memory_bytes or 0 for process in gpu.processes if process.is_ours),
        foreign_bytes=foreign,
        temperature_c=gpu.temperature_c,
        power_w=gpu.power_w,
        tenants=tenants,
        places=places,
        strangers=strangers,
        drawings=tuple(process for process in gpu.processes if process.computes_for_screens),
    )


def blind_card(name: str, live: list[QueueEntry], places: int) -> DeviceCard:
    """The card of a GPU whose driver says nothing: runs start on it, but nobody sees who else is there."""
    tenants = _on(f"GPU-{name}", live)
    verdict, why = _verdict(tenants, places)
    return DeviceCard(
        name=f"GPU {name}",
        model="its driver cannot be read: nobody sees who else is on it",
        verdict=verdict,
        why=why,
        utilization=None,
        memory_used_bytes=0,
        memory_total_bytes=0,
        tenants=tenants,
        places=places,
    )


def cpu_card(now: Machine, live: list[QueueEntry], places: int, *, alone: bool = True) -> DeviceCard:
    """The card of the CPU; `live` are entries that hold slots. alone: there is no GPU beside it."""
    tenants = _on(CPU, live)
    verdict, why = _verdict(tenants, places)
    return DeviceCard(
        name=CPU_NAME,
        model=f"{now.cpu_count} core{'s' if now.cpu_count > 1 else ''}" + (", no GPU seen here" if alone else ""),
        verdict=verdict,
        why=why,
        utilization=now.cpu_load,
        memory_used_bytes=now.memory_used_bytes,
        memory_total_bytes=now.memory_total_bytes,
        tenants=tenants,
        places=places,
    )


def node_card(node: Node, live: list[QueueEntry]) -> DeviceCard:
    """The card of a machine of a cluster; `live` are entries that hold slots."""
    tenants = _on(node.name, live)
    room = node.gpus - node.used_gpus
    verdict: Verdict = "free" if not tenants and not node.used_gpus else "partly free"
    why = f"{room} of {count(node.gpus)} GPUs free" if node.gpus else node.state
    if not node.takes_runs or (node.gpus and not room):
        full = node.state == "allocated" or (node.takes_runs and not room)
        verdict = "unreadable" if not full else "ours" if tenants else "taken"
        why = why if full else node.state
    return DeviceCard(
        name=node.name,
        model=why,
        verdict=verdict,
        why=why,
        utilization=None,
        memory_used_bytes=0,
        memory_total_bytes=0,
        tenants=tenants,
        places=node.gpus or 1,
        gpus=(node.used_gpus, node.gpus),
    )


def _on(place: str, live: list[QueueEntry]) -> tuple[QueueEntry, ...]:
    return tuple(entry for entry in live if any(device_of(slot) == place for slot in entry.slots))


def _verdict(tenants: tuple[QueueEntry, ...], places: int) -> tuple[Verdict, str]:
    if not tenants:
        return "free", "free"
    if len(tenants) < places:
        return "partly free", f"{len(tenants)} of {places} places taken"
    return (
        "ours",
        f"all {places} places taken" if places > 1 else f"busy with a run of {tenants[0].owner or 'somebody'}",
    )


def history(since_s: float) -> Mapping[str, np.ndarray]:
    """Columns of the machine's telemetry of the last `since_s` seconds."""
    return _history(str(open_store().root), since_s)


@st.cache_resource(ttl=10, max_entries=16, show_spinner=False)
def _history(root: str, since_s: float) -> Mapping[str, np.ndarray]:
    return telemetry.read_history(Path(root), since_s)


def forecast() -> Forecast:
    """When the disk will be full, from the last days."""
    return _forecast(str(open_store().root))


@st.cache_resource(ttl=60, max_entries=4, show_spinner=False)
def _forecast(root: str) -> Forecast:
    return telemetry.disk_forecast(telemetry.read_history(Path(root), 7 * 86400.0))


def sizes() -> list[RunSize]:
    """What every run takes on the disk, largest first."""
    return _sizes(str(open_store().root))


def disk_use() -> list[PersonUse]:
    """What each person uses of the disk, whoever uses most first."""
    return _disk_use(str(open_store().root), current_site())


@st.cache_resource(ttl=10, max_entries=4, show_spinner=False)
def _disk_use(root: str, _site: SiteSettings) -> list[PersonUse]:
    return use_by_person(RunStore(Path(root)), _site)


def own_disk_use(owner: str) -> PersonUse | None:
    """What this person uses, where there is a quota."""
    site = current_site()
    uses = disk_use() if site.disk_quota_gb else []
    return next((use for use in uses if use.person == site.account_of(owner)), None)


@st.cache_resource(ttl=10, max_entries=4, show_spinner=False)
def _sizes(root: str) -> list[RunSize]:
    return sorted(disk.run_sizes(RunStore(Path(root))), key=lambda found: -found.total_bytes)


def cache_entries() -> list[CacheEntry]:
    """Arrays, latents and judges in the cache, largest first."""
    return sorted(disk.cache_entries(current_site().cache, open_store()), key=lambda entry: -entry.size_bytes)


def plan_cleanup(choice: CleanupChoice, older_than_days: float, by: str) -> CleanupPlan:
    """What a clean-up by this person would remove and what it would leave; removes nothing."""
    return disk.plan_cleanup(open_store(), current_site().cache, choice=choice, older_than_days=older_than_days, by=by)


def apply_cleanup(plan: CleanupPlan, by: str) -> int:
    """Remove what the plan names and is still free to go; bytes that were freed. Raises LabError."""
    freed = disk.apply_cleanup(open_store(), plan, by)
    _sizes.clear()  # type: ignore[attr-defined]
    return freed


def owners_of(plan: CleanupPlan) -> list[str]:
    """Whose runs a clean-up touches."""
    return sorted({plain(item.owner, 60) for item in plan.goes if item.owner})


def trashed() -> list[Trashed]:
    """Deleted runs that can still be brought back, the newest first."""
    return trash.list_trash(open_store(), keep_days=current_site().trash_days)


def move(run_id: str, to: Move, by: str) -> None:
    """Change a run's place among those of its priority. Raises LabError."""
    queue_order.move_run(open_store(), run_id, to=to, by=by)
    look_again()


def set_priority(run_id: str, priority: int, by: str) -> None:
    """Higher is served first, -10 to 10. Raises LabError."""
    queue_order.set_priority(open_store(), run_id, priority, by=by)
    look_again()
