"""How a training starts: the device, the dataset, and what status.json says."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs

from core import atomic
from core.config.schema import Settings
from core.data.arrays import ImageSet, prepare
from core.device import device_label, mixed_precision, resolve_device, set_threads
from core.errors import DataUnavailable
from core.machine import peers
from core.machine.attempts import boot_id
from core.rules import NEWEST, Rules
from core.runs.facts import fingerprint_of
from core.runs.run import Run, RunState
from core.training.ranks import PATIENCE, shared_mean

STATUS_EVERY_S = 1.0

logger = logging.getLogger(__name__)


def open_accelerator(settings: Settings, trackers_dir: Path | None = None, *, rules: Rules = NEWEST) -> Accelerator:
    """The Accelerator for these settings: device, precision, processes and trackers. Made anew for each run.

    A rank of torchrun takes the GPU of its local rank among those it sees, and waits for the others as long as the
    first one's disk or download takes: after torch's own ten minutes a whole run would fail. See `tie_ranks`.
    """
    device = resolve_device(settings.machine.device)
    if device.type == "cuda" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    set_threads(settings.machine.num_threads, rule=rules.threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    AcceleratorState._reset_state(True)
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=mixed_precision(settings.machine.mixed_precision, device),
        log_with=list(settings.logging.trackers) or None if trackers_dir else None,
        project_dir=trackers_dir,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )


def tie_ranks(accelerator: Accelerator) -> None:
    """Let no rank that torchrun started outlive another on this machine, or the launcher. `core.training.ranks` ties
    those that it forks itself."""
    if accelerator.num_processes == 1 or shared_mean():
        return
    machine, launcher = boot_id(), os.getppid()
    ranks: list[Any] = [None] * accelerator.num_processes
    torch.distributed.all_gather_object(ranks, (machine, launcher, os.getpid()))
    pids = [pid for at, of, pid in ranks if (at, of) == (machine, launcher) and pid != os.getpid()]
    peers.watch(pids, launcher)


class StatusKeeper:
    """Writes status.json at most once a second, and measures speed and the time that is left.

    is_main: False in the other ranks, which measure but do not write.
    """

    def __init__(self, run: Run, device: torch.device, *, is_main: bool = True, processes: int = 1) -> None:
        self.run = run
        self.is_main = is_main
        self.steps_total = run.train_settings.steps
        self.batch_size = run.train_settings.batch_size
        self.device = device_label(device, processes)
        self.elapsed_before_s = run.status().elapsed_s
        self.started = time.monotonic()
        self.last_write = -math.inf
        self.marks: list[tuple[float, int]] = []

    def begin(self, elapsed_before_s: float) -> None:
        """Start the clock of the training itself, on top of what the checkpoint had."""
        self.elapsed_before_s = elapsed_before_s
        self.started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds of training, those of earlier attempts included."""
        return self.elapsed_before_s + time.monotonic() - self.started

    @property
    def images_per_s(self) -> float | None:
        """Speed over about the last ten seconds, everything included."""
        if len(self.marks) < 2:
            return None
        (first_time, first_step), (last_time, last_step) = self.marks[0], self.marks[-1]
        seconds = last_time - first_time
        return (last_step - first_step) * self.batch_size / seconds if seconds > 0 else None

    def write(self, state: RunState, step: int, *, stage: str = "", reason: str = "", force: bool = False) -> None:
        """Replace status.json, unless it was written less than a second ago and `force` is not given.

        Only what is forced (beginnings, saves, ends) waits for the disk: a flush each second slows the training.
        """
        now = time.monotonic()
        if not force and now - self.last_write < STATUS_EVERY_S:
            return
        if stage == "training":
            self.marks = [*self.marks[-10:], (now, step)]
        speed = self.images_per_s
        self.last_write = now
        if not self.is_main:
            return
        self.run.write_status(
            replace(
                self.run.status(),
                state=state,
                step=step,
                steps_total=self.steps_total,
                images_per_s=speed,
                eta_s=(self.steps_total - step) * self.batch_size / speed if speed else None,
                elapsed_s=self.elapsed_s,
                stage=stage,
                reason=reason,
                device=self.device,
            ),
            durable=force,
        )


@dataclass(frozen=True, kw_only=True)
class Start:
    """What both kinds of training begin with. progress(stage, fraction) shows in the run's status."""

    accelerator: Accelerator
    status: StatusKeeper
    images: ImageSet
    step: int
    progress: Callable[[str, float], None]

    @property
    def device(self) -> torch.device:
        """Where the networks and the data live."""
        return self.accelerator.device


def start_run(run: Run, *, data_dir: Path, cache_dir: Path) -> Start:
    """Open the device and the dataset of a run. Raises DataUnavailable when the set is gone or has changed."""
    accelerator = open_accelerator(run.settings, run.folder / "trackers", rules=run.rules)
    tie_ranks(accelerator)
    is_main, processes = accelerator.is_main_process, accelerator.num_processes
    status = StatusKeeper(run, accelerator.device, is_main=is_main, processes=processes)
    step = run.status().step

    def progress(stage: str, fraction: float) -> None:
        status.write(RunState.RUNNING, step, stage=f"{stage} {fraction:.0%}")

    status.write(RunState.RUNNING, step, stage="preparing the dataset", force=True)
    with accelerator.main_process_first():  # one rank prepares, the others find it in the cache
        images = prepare(run.settings.data, data_dir=data_dir, cache_dir=cache_dir, rules=run.rules, progress=progress)
        _note_data_set(run, images)
    logger.info(
        "the dataset is open: %s, %s training images", images.name, f"{len(images.learned(run.rules.split).labels):,}"
    )
    return Start(accelerator=accelerator, status=status, images=images, step=step, progress=progress)


def _note_data_set(run: Run, images: ImageSet) -> None:
    """Record the dataset in the run folder at its first start; at a resume, refuse one that has changed."""
    facts = {
        "name": images.name,
        "title": images.title,
        "fingerprint": images.fingerprint,
        "class_names": list(images.class_names),
        "train_count": len(images.learned(run.rules.split).labels),
        "validation_count": len(images.validation(run.rules.split).labels),
        "heldout_count": len(images.heldout.labels),
        "channels": images.channels,
        "image_size": images.image_size,
    }
    if run.data_path.exists():
        try:
            before = fingerprint_of(run)
        except ValueError as error:
            raise DataUnavailable(f"{run.id}: data.json cannot be read: {error}") from None
        if before != images.fingerprint:
            raise DataUnavailable(
                f"{run.id}: the dataset '{images.name}' has changed since this run began "
                f"({before[:12]} then, {images.fingerprint[:12]} now)",
                "start a new run on it",
            )
        return
    atomic.write_json(run.data_path, facts)
