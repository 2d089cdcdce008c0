"""What is said about a run in lists, pages and JSON: its row, its last metrics, its checkpoints. Opens no weights."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import reading
from core.errors import CheckpointError, RunNotFound
from core.runs.run import Run, Status

_STEP_FOLDER = re.compile(r"^step-(\d{8,})$")


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """A checkpoint folder with a readable manifest; its contents are verified when it is loaded."""

    step: int
    path: Path
    size_bytes: int


def list_checkpoints(run: Run) -> list[CheckpointInfo]:
    """Checkpoints, oldest first; folders without a readable manifest or with a missing file are left out."""
    found = []
    for folder in _entries(run.checkpoints_dir):
        match = _STEP_FOLDER.match(folder.name)
        if not match:
            continue
        try:
            sizes = reading.read_object(folder / "manifest.json")["files"]
            expected = sum(int(facts["size"]) for facts in sizes.values())
            actual = sum((folder / name).stat().st_size for name in sizes)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if actual == expected:
            found.append(CheckpointInfo(step=int(match.group(1)), path=folder, size_bytes=expected))
    return sorted(found, key=lambda info: info.step)


def newest_step(run: Run) -> int:
    """Step of the newest checkpoint. Raises CheckpointError when there is none."""
    found = list_checkpoints(run)
    if not found:
        raise CheckpointError(f"{run.id}: has no checkpoint yet", "let it train until its first save")
    return found[-1].step


def last_checkpoint_in_words(run: Run) -> str:
    """'the last checkpoint is of step 5,000' or 'no checkpoint was saved'; of a comparison '7 of 30 cells are kept'."""
    if not _trains(run):
        status = run.status()
        return f"{status.step:,} of {status.steps_total:,} {run.kind.unit}s are kept"
    checkpoints = list_checkpoints(run)
    return f"the last checkpoint is of step {checkpoints[-1].step:,}" if checkpoints else "no checkpoint was saved"


def _trains(run: Run) -> bool:
    """True for a training, and where run.json cannot be read."""
    try:
        return run.kind.trains
    except RunNotFound:
        return True


def kept_step(run: Run) -> int:
    """Where a resume would go on: the step of the newest checkpoint, or the cells that are done; 0 for the start."""
    if not _trains(run):
        return run.status().step
    checkpoints = list_checkpoints(run)
    return checkpoints[-1].step if checkpoints else 0


def place_in_words(run: Run, step: int) -> str:
    """' at step 5,000' of a training, '' of a comparison: what is kept says it."""
    return f" at step {step:,}" if _trains(run) else ""


def last_metrics(run: Run) -> tuple[dict[str, Any], str]:
    """The newest value of every key in metrics.jsonl, and what of the file cannot be read, '' for nothing."""
    from core.runs.metrics import MetricsReader  # NumPy: nothing for a supervisor or a command that stops a run

    values: dict[str, Any] = {}
    reader = MetricsReader(run.metrics_path)
    for record in reader.read_new():
        values.update(record)
    values.pop("nonfinite", None)
    good = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()
    }
    return good, reader.problem


def run_row(run: Run, status: Status) -> dict[str, Any]:
    """One element of `runs --json`. `status` is the observed one, not what status.json claims.

    problem: why one can only look at the run, '' for nothing.
    """
    info = run.info
    return {
        "id": run.id,
        "kind": info.kind,
        "name": info.name,
        "state": str(status.state),
        "step": status.step,
        "steps_total": status.steps_total,
        "owner": info.owner,
        "created_at": info.created_at,
        "parents": list(info.parents),
        "problem": run.flaw(status),
    }


def run_details(run: Run, status: Status) -> dict[str, Any]:
    """`show --json`: the row, and status, settings, last metrics, checkpoints and evaluations."""
    row, (metrics, unread) = run_row(run, status), last_metrics(run)
    return {
        **row,
        "problem": row["problem"] or run.settings_flaw or unread,
        "reason": status.reason,
        "stage": status.stage,
        "device": status.device,
        "images_per_s": status.images_per_s,
        "eta_s": status.eta_s,
        "elapsed_s": status.elapsed_s,
        "preset": run.info.preset,
        "dataset": run.info.dataset,
        "revision": run.info.revision,
        "versions": run.info.versions,
        "settings": run.shown_settings.model_dump(mode="json"),
        "metrics": metrics,
        "checkpoints": [
            {"step": info.step, "path": str(info.path), "size_bytes": info.size_bytes} for info in list_checkpoints(run)
        ],
        "evaluations": [path.name for path in _entries(run.evaluations_dir) if path.suffix == ".json"],
        "folder": str(run.folder),
    }


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
