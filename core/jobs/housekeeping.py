"""What the supervisor does beside starting and ending: proof that slots are free again, speeds, messages, sweeping."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.config.site import SiteSettings
from core.errors import LabError
from core.jobs import frozen_code, telemetry
from core.jobs.accounts import state_folder
from core.jobs.exit_reason import RELEASED, Ending
from core.jobs.job_row import signature_of, work_of
from core.jobs.orders import Orders
from core.jobs.queue import Job, JobState, Queue
from core.jobs.slots import CPU, device_of
from core.jobs.webhook import WebhookSender
from core.machine import attempts, gpus
from core.machine.snapshot import read_machine
from core.runs.lock import FileLock, try_lock
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from core.runs.trash import empty_trash

logger = logging.getLogger(__name__)

DIVERGING = "diverging"
DUTY_NAME = "duty.lock"
RELEASE_PATIENCE_S = 15.0
FREED_SLACK_BYTES = 256 * 2**20
SAMPLE_EVERY_S = 10.0
SWEEP_EVERY_S = 600.0
DIVERGING_EVERY_S = 2.0


@dataclass(frozen=True, kw_only=True)
class _Release:
    """An attempt that ended: its devices are looked at until they are seen to be free."""

    run: Run
    attempt: int
    gpu_names: tuple[str, ...]
    used_before: dict[str, int]
    since: float


class Housekeeping:
    """Small duties, each safe to repeat; a problem with one is logged and touches nothing else."""

    def __init__(self, store: RunStore, queue: Queue) -> None:
        self.store, self.queue = store, queue
        self.webhook = WebhookSender(queue)
        self.releases: list[_Release] = []
        self.sampled_at = self.swept_at = self.looked_at = self.asked_at = float("-inf")
        self.duty: FileLock | None = None
        self.orders = Orders(queue.folder)
        self.event_sizes: dict[str, int] = {}

    def tick(self, site: SiteSettings, jobs: Sequence[Job]) -> None:
        """One round."""
        now = time.monotonic()
        self.releases = [release for release in self.releases if not self._is_released(release, now)]
        if now - self.swept_at >= SWEEP_EVERY_S:
            self.swept_at = now
            needed = {job.code for job in jobs} | self.orders.sweep()
            frozen_code.sweep(state_folder(self.queue.folder), needed, older_than=time.time() - 3600)
            if self._has_duty(now):
                self._sweep(site)
        if not self._has_duty(now):
            return
        if site.webhook_url:
            if now - self.looked_at >= DIVERGING_EVERY_S:
                self.looked_at = now
                self._look_for_divergence(jobs)
            self.webhook.deliver_due(site.webhook_url)
        if now - self.sampled_at >= SAMPLE_EVERY_S:
            self.sampled_at = now
            with contextlib.suppress(OSError):  # a full disk: the history has a hole
                running = sum(job.state is JobState.LIVE for job in jobs)
                telemetry.sample(self.store.root, read_machine(self.store.root), running)

    def _sweep(self, site: SiteSettings) -> None:
        for job in self.queue.jobs(JobState.PAUSED, JobState.ENDED):
            if not (self.store.root / job.run_id).is_dir():  # it was deleted
                self.queue.forget(job.run_id)
        empty_trash(self.store, older_than_days=site.trash_days)

    def _has_duty(self, now: float) -> bool:
        """Whether this supervisor does what is done once, however many accounts have one for the same runs folder."""
        if not self.orders.are_kept or self.duty is not None:
            return True
        if now - self.asked_at >= SAMPLE_EVERY_S:
            self.asked_at = now
            self.duty = try_lock(self.queue.folder / DUTY_NAME)
        return self.duty is not None

    def close(self) -> None:
        """Before the supervisor ends or goes on as newer code: say what is known about devices not yet seen free."""
        for release in self.releases:
            self._say_released(release, None)
        self.releases = []
        if self.duty is not None:
            self.duty.release()
            self.duty = None

    def memory_used(self, names: Sequence[str]) -> dict[str, int]:
        """Used bytes of each GPU among the devices, before a run gets them."""
        if all(name == CPU for name in names):
            return {}
        return {gpu.uuid: gpu.memory_used_bytes for gpu in gpus.read_gpus() if gpu.uuid in names}

    def attempt_ended(self, run: Run, job: Job, ending: Ending, site: SiteSettings) -> None:
        """Note its speed, tell the webhook, and watch until its devices are free."""
        started = attempts.read_file(run.folder, attempts.ATTEMPT_FILE, job.attempt) or {}
        used = started.get("memory_used_bytes")
        release = _Release(
            run=run,
            attempt=job.attempt,
            gpu_names=tuple(name for name in map(device_of, job.slots) if name != CPU),
            used_before=used if isinstance(used, dict) else {},
            since=time.monotonic(),
        )
        if not self._is_released(release, release.since):
            self.releases.append(release)
        if ending.state is RunState.FINISHED:
            self._note_speed(run)
        wanted = (RunState.FINISHED, RunState.FAILED, RunState.INTERRUPTED)
        if site.webhook_url and ending.state in wanted:
            self.queue.add_notice(message(run, str(ending.state), ending.reason))

    def _is_released(self, release: _Release, now: float) -> bool:
        """True when no process is left and the GPUs' memory is back; written down as seen, or as not seen in time."""
        left = attempts.living_in(release.run.folder, release.attempt)
        freed = {name: self._is_freed(name, release) for name in release.gpu_names}
        if left or not all(freed.values()):
            if now - release.since < RELEASE_PATIENCE_S:
                return False
            self._say_released(release, all(freed.values()) if freed else None, process_gone=not left)
            return True
        self._say_released(release, True if freed else None)
        return True

    def _is_freed(self, name: str, release: _Release) -> bool:
        """True when no process of the attempt is seen on the GPU and its memory is about what it was before."""
        for gpu in gpus.read_gpus():
            if gpu.uuid == name:
                before = release.used_before.get(name, 0)
                ours = any(process.run_id == release.run.id for process in gpu.processes)
                others = any(process.run_id != release.run.id for process in gpu.processes)
                return not ours and (others or gpu.memory_used_bytes <= before + FREED_SLACK_BYTES)
        return True  # no such GPU to be seen: nothing can be said against it

    def _say_released(self, release: _Release, gpu_memory_freed: bool | None, *, process_gone: bool = True) -> None:
        facts: dict[str, Any] = {"attempt": release.attempt, "process_gone": process_gone}
        if gpu_memory_freed is not None:
            facts["gpu_memory_freed"] = gpu_memory_freed
        try:
            if release.run.folder.is_dir():
                release.run.add_event(RELEASED, **facts)
        except OSError as error:
            logger.error("%s: its release could not be written down: %s", release.run.id, error)

    def _note_speed(self, run: Run) -> None:
        status = run.status()
        try:
            work = work_of(run) if run.kind.work else status.steps_total
            if work and status.elapsed_s:
                self.queue.note_speed(signature_of(run), status.elapsed_s / work)
        except LabError:
            return

    def _look_for_divergence(self, jobs: Sequence[Job]) -> None:
        """A message when a live run's loss first stops being a number."""
        for job in jobs:
            if job.state is not JobState.LIVE:
                continue
            run = Run(self.store.root / job.run_id)
            try:
                size = run.events_path.stat().st_size
            except OSError:
                continue
            if self.event_sizes.get(job.run_id) == size:
                continue
            self.event_sizes[job.run_id] = size
            for event in run.events():
                token = f"{DIVERGING}:{job.run_id}:{event.get('at')}"
                if event.get("event") == DIVERGING and self.queue.once(token) is None:
                    self.queue.done(token, [job.run_id])
                    self.queue.add_notice(message(run, DIVERGING, str(event.get("reason", ""))))


def message(run: Run, state: str, reason: str) -> dict[str, Any]:
    """What a webhook gets. `text` is what chat programs show."""
    info, status = run.info, run.status()
    name = info.name or run.id
    words = f"{name}: {state}" + (f" ({reason})" if reason else "")
    return {
        "text": words,
        "run": run.id,
        "name": info.name,
        "kind": info.kind,
        "owner": info.owner,
        "state": state,
        "reason": reason,
        "step": status.step,
        "steps_total": status.steps_total,
    }
