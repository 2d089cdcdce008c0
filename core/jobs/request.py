"""When and how a run may run: what belongs to the request for it, and never to the experiment. `job.json` of a run.

Missing, as in runs of older versions: none of it. Every engine reads it; a field that an engine cannot follow is
refused when the run is started.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import Field

from core import atomic, reading
from core.config.load import settings_from
from core.config.schema import Section, Settings
from core.config.site import ACCOUNT, PARTITION, Directive
from core.errors import ConfigError, LabError, UsageError, quoted
from core.runs.run import Run
from core.runs.store import storage_error
from core.values import instant
from core.words import duration

FILE = "job.json"
FORMAT = 1
SHORT_S = 300.0  # a run of less than this is a short one
MIN_PRIORITY, MAX_PRIORITY = -10, 10
MOST_PROCESSES = 64
MOST_S = 366 * 86_400.0
OF_A_CLUSTER = ("partition", "account", "qos", "directives")
_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_PART = re.compile(r"(\d{1,8}(?:\.\d{1,6})?)(d|h|min|m|s)")
_ZONE = re.compile(r"(Z|[+-]\d\d:?\d\d)$")
_MOMENTS = "as 22:00, '2026-12-24 08:30' or +2h"


class JobRequest(Section):
    """time_limit_s: seconds from each start, after which the run is saved and ended, or with `requeue` queued again.

    start_at: not before this moment, UTC ISO 8601. preemptible: whether it may be interrupted for others; None: as the
    site says. num_processes: that share each batch of a training; None: as machine.num_processes says. partition,
    account, qos, directives: of a cluster's Slurm, in the place of the site's; empty: the site's.
    """

    priority: int = Field(0, ge=MIN_PRIORITY, le=MAX_PRIORITY)
    time_limit_s: float | None = Field(None, ge=1.0, le=MOST_S)
    requeue: bool = False
    start_at: str = Field("", max_length=40)
    preemptible: bool | None = None
    num_processes: int | None = Field(None, ge=0, le=MOST_PROCESSES)
    partition: str = Field("", pattern=PARTITION, max_length=200)
    account: str = Field("", pattern=ACCOUNT, max_length=200)
    qos: str = Field("", pattern=ACCOUNT, max_length=200)
    directives: tuple[Directive, ...] = Field((), max_length=50)

    @property
    def starts_s(self) -> float:
        """The moment before which it does not start, seconds since 1970; 0 for none."""
        found = instant(self.start_at)
        return 0.0 if found is None else found.timestamp()

    @property
    def limit_in_words(self) -> str:
        """'time limit of 2 h'."""
        return "time limit" if self.time_limit_s is None else f"time limit of {duration(self.time_limit_s)}"

    def with_changes(self, changes: Mapping[str, Any]) -> JobRequest:
        """The same but for these fields. Raises UsageError in the words of the command line."""
        values = {**self.model_dump(mode="json"), **changes}
        if values["requeue"] and values["time_limit_s"] is None:
            raise UsageError("--requeue: says what happens at a time limit, and there is none", "add --time-limit 2h")
        try:
            return reading.record_from(json.dumps(values), JobRequest, "request")
        except reading.Unreadable as error:
            raise UsageError(error.message) from None


NOTHING_ASKED = JobRequest()


def read_request(run: Run) -> JobRequest:
    """What was asked for when the run was started or resumed. Raises LabError for a file that cannot be acted on."""
    path = run.folder / FILE
    try:
        values = reading.read_object(path)
    except FileNotFoundError:
        return JobRequest()
    except OSError as error:
        raise storage_error(error, path) from None
    number = values.pop("format", FORMAT)
    words = reading.newer(number, FORMAT) if isinstance(number, int) else f"its format is {quoted(str(number))}"
    if words:
        raise LabError(f"{path}: {words}", "use that version, or remove the file: then nothing of it holds")
    try:
        return reading.record_from(json.dumps(values), JobRequest, FILE)
    except reading.Unreadable as error:
        raise LabError(f"run {run.id}: {error.message}", "remove the file: then nothing of it holds") from None


def asked_settings(run: Run, request: JobRequest) -> Settings:
    """The run's settings with the number of processes of the request. Raises ConfigError, and UsageError where the
    batch does not divide."""
    if request.num_processes is None or not run.kind.trains:
        return run.settings
    values = run.settings.model_dump(mode="json")
    values["machine"]["num_processes"] = request.num_processes
    try:
        return settings_from(values)
    except ConfigError as error:
        raise UsageError(f"--processes: {error.message.removeprefix('machine.num_processes: ')}", error.hint) from None


def shown_request(run: Run) -> JobRequest:
    """For showing: a request that cannot be acted on is shown as none."""
    with contextlib.suppress(LabError):
        return read_request(run)
    return JobRequest()


def keep_request(run: Run, request: JobRequest) -> None:
    """Write job.json; a request that asks for nothing removes it. Raises LabError."""
    path = run.folder / FILE
    try:
        if request == JobRequest():
            path.unlink(missing_ok=True)
        else:
            atomic.write_json(path, {"format": FORMAT, **request.model_dump(mode="json", exclude_defaults=True)})
    except OSError as error:
        raise storage_error(error, path) from None


def refuse_cluster_options(request: JobRequest) -> None:
    """Raises UsageError where runs start on one machine, which has no partitions."""
    if found := [name for name in OF_A_CLUSTER if getattr(request, name)]:
        raise UsageError(f"--{found[0].replace('directives', 'directive')}: is for a cluster, and site.engine is local")


def as_text(request: JobRequest) -> str:
    """As a row of the queue holds it."""
    return request.model_dump_json(exclude_defaults=True)


def from_text(text: object) -> JobRequest:
    """Of a row: as much as this version can read."""
    if text == "{}":
        return NOTHING_ASKED
    try:
        values = reading.json_object(str(text), "request")
    except reading.Unreadable:
        return JobRequest()
    return reading.salvaged(values, JobRequest, {})


def seconds_in(text: str) -> float:
    """'2h', '90m', '1h30m', '1d' in seconds. Raises UsageError."""
    words = text.strip().lower().replace(" ", "")
    parts = _PART.findall(words)
    if not parts or "".join(map("".join, parts)) != words:
        raise UsageError(f"'{quoted(text)}' is not a duration", "write it as 2h, 90m, 1h30m or 1d")
    seconds = sum(float(number) * _UNITS[unit[0]] for number, unit in parts)
    if not 1.0 <= seconds <= MOST_S:
        raise UsageError(f"'{quoted(text)}' is not between 1 s and 366 d")
    return seconds


def moment_in(text: str, now: datetime | None = None) -> str:
    """'22:00' (the next one), '2026-12-24 08:30' of this machine's clock, or '+2h' as UTC ISO 8601. Raises UsageError.

    now: with a time zone; else the clock's.
    """
    now = now or datetime.now().astimezone()
    words = text.strip()
    if words.startswith("+"):
        found = now + timedelta(seconds=seconds_in(words[1:]))
    elif re.fullmatch(r"\d{1,2}:\d{2}", words):
        hour, minute = map(int, words.split(":"))
        if hour > 23 or minute > 59:
            raise UsageError(f"'{quoted(text)}' is not a time of day", f"write it {_MOMENTS}")
        found = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        found += timedelta(days=1) if found <= now else timedelta()
    else:
        named = instant(words)
        if named is None:
            raise UsageError(f"'{quoted(text)}' is not a moment", f"write it {_MOMENTS}")
        found = named if _ZONE.search(words) else named.replace(tzinfo=now.tzinfo)
    if not now < found <= now + timedelta(seconds=MOST_S):
        raise UsageError(f"'{quoted(text)}' is over, or more than a year ahead", f"write it {_MOMENTS}")
    return found.astimezone(UTC).isoformat(timespec="seconds")


def moment_in_words(iso: str, now: datetime | None = None) -> str:
    """'22:00', with its date when that is not today's, on this machine's clock; '' for no moment."""
    found = instant(iso)
    if found is None:
        return ""
    now, found = now or datetime.now().astimezone(), found.astimezone(None if now is None else now.tzinfo)
    return f"{found:%H:%M}" if found.date() == now.date() else f"{found:%Y-%m-%d %H:%M}"


def in_words(request: JobRequest) -> str:
    """'time limit 2 h, then queued again · not before 22:00 · may be interrupted'; '' for a request of nothing."""
    then = ", then queued again" if request.requeue else ""
    may = {True: "may be interrupted for others", False: "is not interrupted for others", None: ""}
    named = (f"{name} {value}" for name in ("partition", "account", "qos") if (value := getattr(request, name)))
    parts = (
        f"time limit {duration(request.time_limit_s)}{then}" if request.time_limit_s else "",
        f"not before {moment_in_words(request.start_at)}" if request.start_at else "",
        may[request.preemptible],
        "" if request.num_processes is None else f"{request.num_processes or 'automatic number of'} processes",
        *named,
        " ".join(request.directives),
    )
    return " · ".join(filter(None, parts))
