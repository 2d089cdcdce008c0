"""One run: a folder, what each file in it holds, and the states it can be in.

The folder is the truth about a run: it can be copied, archived and read without this program.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from core import atomic
from core.config.load import read_frozen
from core.config.schema import Settings, TrainSettings
from core.errors import ConfigError, LabError, RunNotFound, UsageError

RunKind = Literal["vae", "unet", "comparison"]
MAX_FIGURE = 1e15


class RunState(StrEnum):
    """Where a run is in its life. The first five are active: a living process should stand behind them."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RESUMING = "resuming"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"

    @property
    def is_active(self) -> bool:
        """True while a process is expected to be alive."""
        return self in _ACTIVE


_ACTIVE = {RunState.QUEUED, RunState.STARTING, RunState.RUNNING, RunState.STOPPING, RunState.RESUMING}


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """Names one process for good: a pid alone is used again, the three together are not."""

    boot_id: str
    pid: int
    start_ticks: int


@dataclass(frozen=True, kw_only=True)
class Status:
    """What a run last said about itself (status.json)."""

    state: RunState = RunState.QUEUED
    step: int = 0
    steps_total: int = 0
    images_per_s: float | None = None
    eta_s: float | None = None
    elapsed_s: float = 0.0
    stage: str = ""
    heartbeat_at: str = ""
    reason: str = ""
    device: str = ""
    process: ProcessIdentity | None = None


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What never changes about a run (run.json), but for its name."""

    id: str
    kind: RunKind
    name: str
    owner: str
    created_at: str
    parents: tuple[str, ...] = ()
    branched_from: str = ""
    branched_step: int = 0
    preset: str = ""
    dataset: dict[str, Any] = field(default_factory=dict)
    revision: str = ""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A run folder and the paths in it."""

    folder: Path

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def config_path(self) -> Path:
        """The frozen settings."""
        return self.folder / "config.yaml"

    @property
    def status_path(self) -> Path:
        """State, step, speed, heartbeat, process."""
        return self.folder / "status.json"

    @property
    def metrics_path(self) -> Path:
        """One JSON line a logged step."""
        return self.folder / "metrics.jsonl"

    @property
    def events_path(self) -> Path:
        """Who did what when, one JSON line each."""
        return self.folder / "events.jsonl"

    @property
    def log_path(self) -> Path:
        """Everything the process printed."""
        return self.folder / "log.txt"

    @property
    def checkpoints_dir(self) -> Path:
        """`step-00005000/` folders."""
        return self.folder / "checkpoints"

    @property
    def previews_dir(self) -> Path:
        """`step-00005000.npz` files."""
        return self.folder / "previews"

    @property
    def evaluations_dir(self) -> Path:
        """Reports as JSON."""
        return self.folder / "evaluations"

    @property
    def exports_dir(self) -> Path:
        """Model folders made of this run from the screens, by name."""
        return self.folder / "exports"

    @property
    def data_path(self) -> Path:
        """data.json: the data set as training saw it (name, fingerprint, class names, sizes)."""
        return self.folder / "data.json"

    @property
    def vae_dir(self) -> Path:
        """A U-Net run's own copy of its VAE (diffusers layout) and codec.json, so that it stands alone."""
        return self.folder / "vae"

    @cached_property
    def info(self) -> RunInfo:
        """run.json. Raises RunNotFound when it is missing or damaged."""
        try:
            values = json.loads((self.folder / "run.json").read_text())
            return RunInfo(**{**values, "parents": tuple(values["parents"])})
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise RunNotFound(f"run {self.id}: run.json cannot be read: {error}") from None

    @cached_property
    def settings(self) -> Settings:
        """The frozen settings. Raises LabError, which names the run, when they cannot be read."""
        try:
            return read_frozen(self.config_path)
        except ConfigError as error:
            raise LabError(f"run {self.id}: its frozen settings cannot be read: {error.message}", error.hint) from None

    @property
    def train_settings(self) -> TrainSettings:
        """The section that drives this kind of run. Raises UsageError for a comparison, which trains nothing."""
        if self.info.kind == "comparison":
            raise UsageError(f"{self.id}: is a comparison and trains nothing")
        return self.settings.train_vae if self.info.kind == "vae" else self.settings.train_unet

    def status(self) -> Status:
        """status.json as it was last written; an unreadable one reads as a default Status with a reason."""
        try:
            values = dict(json.loads(self.status_path.read_text()))
            process = values.pop("process", None)
            values["state"] = RunState(values["state"])
            status = Status(**values, process=ProcessIdentity(**process) if process else None)
            _check_types(status)
            return status
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            return Status(state=RunState.INTERRUPTED, reason=f"status.json cannot be read: {error}")

    def write_status(self, status: Status, *, durable: bool = True) -> None:
        """Replace status.json, stamping the heartbeat. durable: as in `atomic.write_bytes`, False for a heartbeat."""
        atomic.write_json(self.status_path, asdict(replace(status, heartbeat_at=now_iso())), durable=durable)

    def add_event(self, event: str, *, by: str = "", **details: Any) -> None:
        """Append one line to events.jsonl."""
        atomic.append_line(
            self.events_path, json.dumps({"at": now_iso(), "event": event, "by": by, **details}, allow_nan=False)
        )

    def events(self) -> list[dict[str, Any]]:
        """All events, oldest first; torn or foreign lines are left out."""
        try:
            lines = self.events_path.read_text(errors="replace").splitlines()
        except OSError:
            return []
        events = []
        for line in lines:
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict):
                events.append(event)
        return events


def _check_types(status: Status) -> None:
    """Raises TypeError or ValueError for values that cannot be shown or written again."""
    for name in ("step", "steps_total", "elapsed_s", "images_per_s", "eta_s"):
        value = getattr(status, name)
        if value is None and name in ("images_per_s", "eta_s"):
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} is no number")
        if name in ("step", "steps_total") and not isinstance(value, int):
            raise TypeError(f"{name} is no whole number")
        if not math.isfinite(value) or not 0 <= value < MAX_FIGURE:
            raise ValueError(f"{name} is {value:g}, which cannot be")
    for name in ("stage", "heartbeat_at", "reason", "device"):
        if not isinstance(getattr(status, name), str):
            raise TypeError(f"{name} is no text")


def now_iso() -> str:
    """UTC now, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
