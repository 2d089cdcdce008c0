"""How far a stop has come, each stage only when it was seen: asked, saved, process gone, GPU memory freed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from core.jobs.engines.choose import engine_for
from core.jobs.exit_reason import RELEASED
from core.machine import attempts
from core.runs.listing import list_checkpoints
from core.runs.run import Run, RunState
from core.runs.store import RunStore


@dataclass(frozen=True, kw_only=True)
class StopStage:
    """One stage in words; done: it was seen; at: when (ISO 8601), '' when that is not known."""

    words: str
    done: bool
    at: str = ""


def stop_stages(run: Run) -> list[StopStage]:
    """The stages of the request to stop, pause or kill the newest attempt; empty when nobody asked for it."""
    attempt = attempts.current_attempt(run.folder)
    request = attempts.stop_of(run.folder, attempt)
    if request is None or run.status().state is RunState.QUEUED:  # 57d6eac resumes a run and leaves the request
        return []
    verb = "killed" if request.level >= 2 else "asked to pause" if request.pauses else "asked to stop"
    asked_at = datetime.fromtimestamp(request.at, UTC).isoformat(timespec="milliseconds")
    words = f"{verb} by {request.by}"
    if request.cause and request.level < 2:
        at_limit = request.cause == attempts.LIMIT
        words = "its time limit was reached" if at_limit else f"asked to make room for a run of {request.by}"
    stages = [StopStage(words=words, done=True, at=asked_at)]
    if request.level < 2:
        stages.append(_saved(run, request.at))
    ours = (event for event in reversed(run.events()) if event.get("attempt") == attempt)
    released = next((event for event in ours if event.get("event") == RELEASED), None)
    gone = released is not None and bool(released.get("process_gone"))
    held = engine_for(RunStore(run.folder.parent)).observe(run).is_held
    stages.append(StopStage(words="process gone", done=gone or not held(), at=_at(released)))
    if run.status().device.startswith("GPU") or (released is not None and "gpu_memory_freed" in released):
        freed = released is not None and bool(released.get("gpu_memory_freed"))
        stages.append(StopStage(words="GPU memory freed", done=freed, at=_at(released)))
    return stages


def _saved(run: Run, asked_at: float) -> StopStage:
    """The checkpoint that stands: written after the request, or the one of the very step it stopped at."""
    checkpoints = list_checkpoints(run)
    status = run.status()
    if not run.kind.trains:
        return StopStage(words=f"finished {run.kind.unit}s are kept", done=True)
    if not checkpoints:
        over = not status.state.is_active
        return StopStage(words="nothing saved yet, nothing to save" if over else "saving a checkpoint", done=over)
    newest = checkpoints[-1]
    fresh = newest.path.stat().st_mtime >= asked_at
    over = not status.state.is_active
    if fresh or over:
        return StopStage(words=f"checkpoint of step {newest.step:,} saved", done=True)
    return StopStage(words="saving a checkpoint", done=False)


def _at(event: Mapping[str, Any] | None) -> str:
    return str(event.get("at") or "") if event else ""
