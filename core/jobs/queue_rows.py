"""A row of the queue: what it says of a run, and how much of what stands in a table is believed."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from core import reading
from core.errors import quoted
from core.jobs.request import JobRequest, as_text, from_text
from core.machine import attempts

DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,2})?")  # as machine.device is written
MOST_PROCESSES = 1024
MOST_NUMBER = 2**62  # SQLite's own whole numbers have 64 bits


class JobState(StrEnum):
    """Where a job is: waiting its turn, held back with its place kept, given slots, or over."""

    QUEUED = "queued"
    PAUSED = "paused"
    LIVE = "live"
    ENDED = "ended"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run's row in the queue. place: order of arrival, changed by moving. attempt: number of the newest one.

    environment: what the person's surroundings add to the training's. code: the frozen code it runs with.
    fruitless: automatic resumes in a row without a new checkpoint. waits_for: why it is not started, in words.
    pauses: a web server of 57d6eac was asked for a pause, which it writes here alone. uid: the account that queued it.
    request: when and how it may run, but for its priority.
    """

    run_id: str
    place: float = 0.0
    state: JobState = JobState.QUEUED
    priority: int = 0
    owner: str = ""
    device: str = "auto"
    num_processes: int = 1
    depends_on: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    attempt: int = 0
    slots: tuple[str, ...] = ()
    pauses: bool = False
    fruitless: int = 0
    last_step: int = -1
    waits_for: str = ""
    queued_at: str = ""
    started_at: str = ""
    ended_at: str = ""
    uid: int = -1
    request: JobRequest = field(default_factory=JobRequest)


def values_of(job: Job, now: str) -> dict[str, Any]:
    """What statements insert of a job, by column; now: the time, ISO 8601."""
    return {
        "run_id": job.run_id,
        "priority": job.priority,
        "owner": job.owner,
        "device": job.device,
        "num_processes": job.num_processes,
        "depends_on": json.dumps(job.depends_on),
        "environment": json.dumps(dict(job.environment)),
        "code": job.code,
        "attempt": job.attempt,
        "slots": json.dumps(job.slots),
        "uid": job.uid,
        "request": as_text(job.request),
        "now": now,
    }


def job_of(row: sqlite3.Row) -> Job:
    """Raises IndexError for a column that is not there, ValueError for a state that is not known and for a run id that
    would lead out of the runs folder.

    SQLite keeps whatever type it is given: a value that its field cannot hold is the field's default.
    """
    columns = {each.name: row[each.name] for each in fields(Job)}  # columns of other versions are left alone
    lists = {name: _text_list(columns.pop(name)) for name in ("depends_on", "slots")}
    with contextlib.suppress(reading.Unreadable):
        columns["environment"] = attempts.texts_in(reading.json_object(str(columns["environment"]), "environment"))
    request = from_text(columns.pop("request"))
    state, pauses = JobState(columns.pop("state")), bool(columns.pop("pauses"))
    default = Job(run_id="")
    values = {name: value for name, value in columns.items() if fits(value, getattr(default, name))}
    if not DEVICE.fullmatch(values.get("device", "")):
        values.pop("device", None)
    if not 1 <= values.get("num_processes", 1) <= MOST_PROCESSES:
        values.pop("num_processes")
    run_id = values.get("run_id", "")
    if Path(run_id).name != run_id or run_id.startswith("."):
        raise ValueError(f"its run is called '{quoted(run_id)}'")
    return Job(**{"run_id": "", **values, **lists}, state=state, pauses=pauses, request=request)


def fits(value: object, default: object) -> bool:
    """Whether a field with this default may hold the value."""
    if isinstance(default, int | float):
        kinds: tuple[type, ...] = (int,) if isinstance(default, int) else (int, float)
        return isinstance(value, kinds) and abs(value) < MOST_NUMBER  # type: ignore[arg-type]
    return isinstance(value, type(default))


def _text_list(text: object) -> tuple[str, ...]:
    try:
        found = reading.json_object(f'{{"list": {text}}}', "list")["list"]
    except reading.Unreadable:
        return ()
    return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()
