"""The machine in three figures, cheap enough for every page. Never imports PyTorch."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from core.config.load import resolve_path
from core.jobs.devices import candidate_devices, is_busy, visible_gpus
from lab.services.runs import list_views
from lab.services.settings import current_settings


@dataclass(frozen=True, kw_only=True)
class MachineGlance:
    """device: 'CPU' or '2 GPUs'. busy: a run holds it. waiting: runs in the queue. disk_free: bytes for runs."""

    device: str
    busy: bool
    waiting: int
    disk_free: int


def glance() -> MachineGlance:
    """What the top of every page shows."""
    settings = current_settings()
    root = resolve_path(settings.paths.runs)
    folder = next(path for path in (root, *root.parents) if path.exists())
    gpus = visible_gpus()
    devices = candidate_devices(settings.machine.device)
    return MachineGlance(
        device=f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''}" if gpus else "CPU",
        busy=all(is_busy(root, device) for device in devices),
        waiting=sum(view.state == "queued" for view in list_views()),
        disk_free=shutil.disk_usage(folder).free,
    )
