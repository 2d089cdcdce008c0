"""What a person does to runs from the screens, through the same functions as the command line. Raises LabError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import streamlit as st

from core import reading
from core.config.schema import Settings
from core.jobs import queue_view, service, stop_report
from core.jobs.queue_entry import NextPlace, QueueEntry
from core.jobs.stop_report import StopStage
from core.runs.kinds import KINDS
from core.runs.notes import Notes
from core.runs.run import Run
from lab.services.runs import RunView, forget_listing, open_store

QUEUE_KEPT_S = 1.0


def stop(run_id: str, by: str) -> None:
    """Ask a run to save and stop; returns at once."""
    service.request_stop(open_store(), run_id, by=by)
    look_again()


def kill(run_id: str, by: str) -> None:
    """Kill a run that does not stop; returns when it is dead."""
    service.force_stop(open_store(), run_id, by=by)
    look_again()


def pause(run_id: str, by: str) -> None:
    """Free its place on the machine; it keeps its place in the queue."""
    service.pause_run(open_store(), run_id, by=by)
    look_again()


def resume(run_id: str, by: str) -> None:
    """Put it back into the queue; it goes on from its last good checkpoint."""
    service.resume_run(open_store(), run_id, by=by)
    look_again()


def delete(run_id: str, by: str) -> None:
    """Into the trash."""
    service.delete_run(open_store(), run_id, by=by)


def restore(run_id: str, by: str) -> None:
    """Back from the trash."""
    service.restore_run(open_store(), run_id, by=by)


def branch(run_id: str, step: int, *, by: str, name: str, overrides: Mapping[str, Any]) -> str:
    """A new run of `by` that goes on from a checkpoint of this one with changed settings; returns its id."""
    made = service.branch_run(open_store(), run_id, step, owner=by, name=name, overrides=dict(overrides))
    look_again()
    return made.id


def describe(run_id: str, by: str, *, name: str, tags: list[str], notes: str, seen: Notes) -> None:
    """Name, tags and notes as the form has them; `seen` is what the person saw before. All of it or nothing."""
    service.describe_run(
        open_store(),
        run_id,
        by=by,
        name=name,
        notes=notes,
        instead_of=seen.notes,
        add_tags=[tag for tag in tags if tag not in seen.tags],
        remove_tags=[tag for tag in seen.tags if tag not in tags],
    )


def hand_over(run_id: str, by: str, person: str) -> None:
    """Make it another person's."""
    service.hand_over(open_store(), run_id, person, by=by)
    look_again()


def add_tag(run_id: str, by: str, tag: str) -> None:
    """One more tag on a run; one that it has already changes nothing."""
    service.describe_run(open_store(), run_id, by=by, add_tags=[tag])


def mark_favourite(run_id: str, by: str, favourite: bool) -> None:
    """Make it a favourite of `by`, or not any more."""
    service.describe_run(open_store(), run_id, by=by, favourite=favourite)


def queue() -> list[QueueEntry]:
    """What waits, is held back or lives, in order; at most a second old."""
    return _queue(str(open_store().root))


def queue_entry(run_id: str) -> QueueEntry | None:
    """A run's place in the queue, or None."""
    return next((entry for entry in queue() if entry.run.id == run_id), None)


def look_again() -> None:
    """Read runs and queue again at the next look: somebody here has changed them, and wants to see it."""
    _queue.clear()  # type: ignore[attr-defined]
    forget_listing()


def is_paused(view: RunView) -> bool:
    """True for a run that was paused: its process is gone, its place in the queue is kept."""
    if view.state not in ("queued", "stopped"):
        return False
    entry = queue_entry(view.id)
    return entry is not None and entry.state == "paused"


@st.cache_resource(ttl=QUEUE_KEPT_S, show_spinner=False)
def _queue(root: str) -> list[QueueEntry]:
    return queue_view.queue_view(open_store())


def stop_stages(run: Run) -> list[StopStage]:
    """How far a stop that was asked for has come; [] when nobody asked."""
    return stop_report.stop_stages(run)


def log_end(run: Run, most_bytes: int = 200_000_000) -> BinaryIO:
    """The run's log, open for reading; of a huge one only the end. Raises OSError or Unreadable."""
    file = reading.open_regular(run.log_path, limit=0)
    file.seek(0, 2)
    file.seek(max(0, file.tell() - most_bytes))
    return file


@st.cache_data(ttl=QUEUE_KEPT_S, show_spinner=False)
def next_place(settings: Settings, kind: str) -> NextPlace:
    """Whether a run of that kind that is queued now would start at once; at most a second old."""
    return queue_view.place_for_next(open_store(), settings, KINDS[kind])
