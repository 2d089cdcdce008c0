"""One run: a folder, what each file in it holds, and the states it can be in.

The folder is the truth about a run: it can be copied, archived and read without this program.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from core import atomic, reading, rules
from core.config.frozen import Frozen, read_frozen
from core.config.schema import Settings, TrainSettings
from core.errors import ConfigError, LabError, RunNotFound, UsageError, quoted
from core.permissions import refusal
from core.rules import Rules
from core.runs.kinds import KINDS, Kind, kind_named
from core.values import WORD, Count, Figure, Pid, Word

logger = logging.getLogger(__name__)

FORMAT = 2  # of a run folder with all its files; 1 froze what belongs to the site in config.yaml
FORMAT_KEY = "format"  # its place among the versions of run.json, where labs that know no formats overlook it


class RunState(StrEnum):
    """Where a run is in its life. The first five are active: a living process should stand behind them.

    A word that a newer version of the lab wrote is a state as well: it is shown as it is, and nothing acts on it.
    """

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RESUMING = "resuming"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"

    @classmethod
    def _missing_(cls, value: object) -> RunState | None:
        if not isinstance(value, str) or not WORD.fullmatch(value):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown

    @property
    def is_active(self) -> bool:
        """True while a process is expected to be alive."""
        return self in _ACTIVE

    @property
    def is_known(self) -> bool:
        """False for a word of a newer version of the lab."""
        return self in RunState.__members__.values()


_ACTIVE = {RunState.QUEUED, RunState.STARTING, RunState.RUNNING, RunState.STOPPING, RunState.RESUMING}


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """Names one process for good: a pid alone is used again, the three together are not."""

    boot_id: str
    pid: Pid
    start_ticks: Count


@dataclass(frozen=True, kw_only=True)
class Status:
    """What a run last said about itself (status.json). share: of the work that its attempt has done, where steps do not
    tell, 0 to 1."""

    state: RunState = RunState.QUEUED
    step: Count = 0
    steps_total: Count = 0
    images_per_s: Figure | None = None
    eta_s: Figure | None = None
    elapsed_s: Figure = 0.0
    stage: str = ""
    heartbeat_at: str = ""
    reason: str = ""
    device: str = ""
    process: ProcessIdentity | None = None
    share: Figure = 0.0


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What never changes about a run (run.json), but for its name. kind: one of KINDS, or a newer lab's word.

    sweep: the id of the sweep that it is part of, '' for none. versions: of the packages, of the lab, of the run
    folder's format, and of the rules that decide its numbers.
    """

    id: str
    kind: Word
    name: str
    owner: str
    created_at: str
    parents: tuple[str, ...] = ()
    branched_from: str = ""
    branched_step: Count = 0
    preset: str = ""
    dataset: dict[str, JsonValue] = field(default_factory=dict)
    revision: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    sweep: str = ""

    @property
    def is_newer(self) -> bool:
        """True when the format of its folder is not known here."""
        return self.versions.get(FORMAT_KEY, "1") not in map(str, range(1, FORMAT + 1))

    @property
    def flaw(self) -> str:
        """Why one may look at the run and do nothing with it: a newer version of the lab made it; '' otherwise."""
        if self.is_newer:
            number = quoted(self.versions[FORMAT_KEY], 20)
            return f"made by a newer version of the lab (format {number}; this one knows {FORMAT})"
        if self.kind not in KINDS:
            return f"made by a newer version of the lab: runs of the kind '{quoted(self.kind)}' are not known here"
        return rules.flaw(self.versions)


_NOTHING_KNOWN = {"kind": "unknown", "name": "", "owner": "", "created_at": ""}


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
        """data.json: the dataset as training saw it (name, fingerprint, class names, sizes)."""
        return self.folder / "data.json"

    @property
    def vae_dir(self) -> Path:
        """A U-Net run's own copy of its VAE (diffusers layout) and codec.json, so that it stands alone."""
        return self.folder / "vae"

    @cached_property
    def info(self) -> RunInfo:
        """run.json. Raises RunNotFound when it is missing or damaged."""
        try:
            data = reading.read_bytes(self.folder / "run.json")
            try:
                return reading.record_from(data, RunInfo, "run.json")
            except reading.Unreadable:
                values = reading.json_object(data, "run.json")
                found = reading.salvaged(values, RunInfo, {**_NOTHING_KNOWN, "id": self.id})
                if not found.is_newer:
                    raise
                return found
        except reading.Unreadable as error:
            raise RunNotFound(f"run {self.id}: {error.message}") from None
        except OSError as error:
            words = refusal(error, self.folder) or f"run.json cannot be read: {error.strerror}"
            raise RunNotFound(f"run {self.id}: {words}") from None

    def flaw(self, status: Status) -> str:
        """Why one may only look at the run: a newer version of the lab made it; '' for nothing. status: its own."""
        if not self.info.flaw and not status.state.is_known:
            return f"made by a newer version of the lab: its state is '{status.state}'"
        return self.info.flaw

    @property
    def rules(self) -> Rules:
        """The rules that its numbers follow. Raises LabError for those of a newer version of the lab."""
        return rules.rules_of(self.info.versions)

    @cached_property
    def settings(self) -> Settings:
        """The frozen settings, to act on. Raises LabError, which names the run, when they cannot be read, and for a run
        that a newer version of the lab made, in whatever way: see `shown_settings`."""
        if flaw := self.flaw(self.status()):
            raise LabError(f"run {self.id}: {flaw}", "update this lab")
        try:
            return self._frozen.to_act_on()
        except ConfigError as error:
            raise LabError(f"run {self.id}: {error.message}", error.hint) from None

    @property
    def shown_settings(self) -> Settings:
        """The frozen settings as far as this version knows them, to be shown. Raises LabError when unreadable."""
        return self._frozen.shown

    @property
    def settings_flaw(self) -> str:
        """Which frozen settings this version does not know; '' for none. Raises LabError when unreadable."""
        return self._frozen.flaw

    @property
    def settings_digest(self) -> str:
        """Of the very text that `settings` come from; '' when they cannot be read."""
        try:
            return self._frozen.digest
        except LabError:
            return ""

    @cached_property
    def _frozen(self) -> Frozen:
        try:
            return read_frozen(self.config_path)
        except ConfigError as error:
            raise LabError(f"run {self.id}: its frozen settings cannot be read: {error.message}", error.hint) from None

    @property
    def kind(self) -> Kind:
        """What kind of run it is and what that can do. Raises RunNotFound."""
        return kind_named(self.info.kind)

    @property
    def title(self) -> str:
        """The name a person gave, or what it is and the end of its id; not escaped."""
        data_set = quoted(self.info.dataset.get("name", "pictures"), 40)
        return self.info.name or f"{self.kind.title} on {data_set}, {self.id[-4:]}"

    @property
    def train_settings(self) -> TrainSettings:
        """The section that drives this kind of run. Raises UsageError for a kind that trains nothing."""
        if not self.kind.trains:
            raise UsageError(f"{self.id}: is a {self.kind.noun} and trains nothing")
        return self.kind.training_in(self.settings)

    @property
    def lacks_its_vae(self) -> bool:
        """True while a U-Net run has no copy of its parent's VAE, without which it cannot begin."""
        return self.kind.vae == "copy" and not (self.vae_dir / "codec.json").exists()

    def check_generates(self, hint: str = "", *, but: str = "") -> None:
        """Raises UsageError, which ends in `but`, for a run of a kind that makes no images."""
        if not self.kind.generates:
            raise UsageError(f"{self.id}: is a {self.kind.noun}{but}", hint)

    def status(self) -> Status:
        """status.json as it was last written; an unreadable one reads as a default Status with a reason."""
        try:
            values = reading.read_object(self.status_path)
            if "state" not in values:
                raise reading.Unreadable("status.json cannot be read: state: Field required")
            try:
                return reading.record_from(json.dumps(values), Status, "status.json")
            except reading.Unreadable:
                if not self.info.is_newer:
                    raise
                return reading.salvaged(values, Status, {"state": "unknown"})
        except (reading.Unreadable, RunNotFound) as error:
            return Status(state=RunState.INTERRUPTED, reason=error.message)
        except OSError as error:
            return Status(state=RunState.INTERRUPTED, reason=f"status.json cannot be read: {error.strerror}")

    def write_status(self, status: Status, *, durable: bool = True) -> None:
        """Replace status.json, stamping the heartbeat. durable: as in `atomic.write_bytes`, False for a heartbeat."""
        atomic.write_json(self.status_path, asdict(replace(status, heartbeat_at=now_iso())), durable=durable)

    def add_event(self, event: str, *, by: str = "", **details: Any) -> None:
        """Append one line to events.jsonl."""
        atomic.append_line(
            self.events_path, json.dumps({"at": now_iso(), "event": event, "by": by, **details}, allow_nan=False)
        )

    def put_on_record(self, event: str, *, by: str = "", **details: Any) -> None:
        """`add_event` for what is done already: it is done, also where it cannot be written down any more."""
        try:
            self.add_event(event, by=by, **details)
        except OSError as error:
            logger.warning(
                "%s: '%s' by %s could not be written down: %s", self.id, event, quoted(by), error.strerror or error
            )

    def events(self) -> list[dict[str, Any]]:
        """All events, oldest first; torn, foreign and endless lines are left out, and a file that is none of ours."""
        try:
            return list(reading.read_lines(self.events_path))
        except (OSError, reading.Unreadable):
            return []


def now_iso() -> str:
    """UTC now, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
