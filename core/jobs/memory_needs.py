"""What runs need of memory, and what those that live will still take of what looks free now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from core.errors import LabError
from core.jobs.queue import Job
from core.jobs.request import JobRequest, asked_settings, shown_request
from core.jobs.slots import CPU, Device, device_of
from core.machine.memory import resident_by_run
from core.runs.run import Run
from core.runs.store import RunStore
from core.weighing import Need, learned_need

Needs = Callable[[bool], Need | None]  # on a GPU? → what it takes, None where that is not known


def needs_of(run: Run) -> Needs:
    """What the run takes, by whether it gets a GPU. Not known for a run whose settings cannot be read."""

    def needs(on_gpu: bool) -> Need | None:
        try:
            return _need_of(run.folder, run.config_path.stat().st_mtime_ns, shown_request(run), on_gpu)
        except (LabError, OSError):
            return None

    return needs


def less_what_comes(
    devices: Sequence[Device],
    store: RunStore,
    live: Iterable[Job],
    resident: Callable[[], Mapping[str, int]] = resident_by_run,
) -> list[Device]:
    """The devices with their free memory less what each live run will still take: a run that begins holds little yet.

    What their end gives back (`reach_bytes`) is rather counted too high, as their needs: no large run may starve.
    resident: the machine's memory that each run holds now.
    """
    coming: dict[str, int] = {}
    on_host = 0  # what the end of all gives back
    jobs = list(live)
    held_on_host = resident() if jobs else {}
    for job in jobs:
        names = {device_of(slot) for slot in job.slots}
        on_gpu = names != {CPU}
        need = needs_of(Run(store.root / job.run_id))(on_gpu)
        on_host += max(held_on_host.get(job.run_id, 0), need.host if need else 0)
        if need is None:
            continue
        coming[CPU] = coming.get(CPU, 0) + max(0, need.host - held_on_host.get(job.run_id, 0))
        for device in devices:
            if on_gpu and device.name in names:
                held = device.held.get(job.run_id, 0)
                coming[device.name] = coming.get(device.name, 0) + max(0, need.gpu - held)
    found = []
    for device in devices:
        free, reach, more = device.free_bytes, device.reach_bytes, coming.get(device.name, 0)
        found.append(
            replace(
                device,
                free_bytes=None if free is None else max(0, free - more),
                reach_bytes=None if reach is None else reach + (on_host if device.name == CPU else more),
            )
        )
    return found


@lru_cache(maxsize=1024)
def _need_of(folder: Path, changed_ns: int, request: JobRequest, on_gpu: bool) -> Need | None:
    """changed_ns: of its config.yaml."""
    run = Run(folder)
    return learned_need(asked_settings(run, request), run.kind, on_gpu=on_gpu) if run.kind.worker else None
