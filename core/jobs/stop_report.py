"""How far a stop has come, each stage only when it was seen: asked, saved, process gone, GPU memory freed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.jobs.housekeeping import RELEASED
from core.jobs.observed import has_process
from core.jobs.stop_events import KILL_REQUESTED, PAUSE_REQUESTED, last_stop
from core.runs.listing import is_comparison, list_checkpoints
from core.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class StopStage:
    """One stage in words; done: it was seen; at: when (ISO 8601), '' when that is not known."""

    words: str
    done: bool
    at: str = ""


def stop_stages(run: Run) -> list[StopStage]:
    """The stages of the newest request to stop, pause or kill; empty when nobody asked since the last resume."""
    request = last_stop(run)
    if request is None:
        return []
    by, asked_at = str(request.get("by") or "someone"), str(request.get("at") or "")
    verb = {KILL_REQUESTED: "killed", PAUSE_REQUESTED: "asked to pause"}.get(str(request.get("event")), "asked to stop")
    stages = [StopStage(words=f"{verb} by {by}", done=True, at=asked_at)]
    later = [event for event in run.events() if str(event.get("at") or "") >= asked_at]
    started = any(event.get("event") in ("started", "resumed") for event in run.events())
    if not started:  # it never had a process
        return stages
    if request.get("event") != KILL_REQUESTED:
        stages.append(_saved(run, asked_at, later))
    released = next((event for event in reversed(later) if event.get("event") == RELEASED), None)
    gone = released is not None and bool(released.get("process_gone"))
    stages.append(StopStage(words="process gone", done=gone or not has_process(run), at=_at(released)))
    if run.status().device.startswith("GPU") or (released is not None and "gpu_memory_freed" in released):
        freed = released is not None and bool(released.get("gpu_memory_freed"))
        stages.append(StopStage(words="GPU memory freed", done=freed, at=_at(released)))
    return stages


def _saved(run: Run, asked_at: str, later: list[dict[str, Any]]) -> StopStage:
    """The checkpoint that stands: written after the request, or the one of the very step it stopped at."""
    checkpoints = list_checkpoints(run)
    status = run.status()
    if is_comparison(run):
        return StopStage(words="finished cells are kept", done=True)
    if not checkpoints:
        over = not status.state.is_active
        return StopStage(words="nothing saved yet, nothing to save" if over else "saving a checkpoint", done=over)
    newest = checkpoints[-1]
    fresh = newest.path.stat().st_mtime >= _seconds(asked_at)
    over = not status.state.is_active
    if fresh or over:
        return StopStage(words=f"checkpoint of step {newest.step:,} saved", done=True)
    return StopStage(words="saving a checkpoint", done=False)


def _at(event: Mapping[str, Any] | None) -> str:
    return str(event.get("at") or "") if event else ""


def _seconds(iso: str) -> float:
    try:
        return datetime.fromisoformat(iso).timestamp()
    except ValueError:
        return 0.0
