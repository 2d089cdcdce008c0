"""Runs as the screens see them: plain records, read again only when a file has changed. Never imports PyTorch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import streamlit as st

from core import reading
from core.bounded_cache import BoundedCache
from core.csv_text import csv_text
from core.data.npz_file import arrays_in
from core.errors import LabError, RunNotFound
from core.runs.collapse import collapsed_kl
from core.runs.film import MAX_FILE_BYTES
from core.runs.listing import CheckpointInfo, list_checkpoints
from core.runs.metrics import MetricColumns, sample_values
from core.runs.run import Run, Status
from core.runs.store import RunStore
from core.words import count
from lab.services.run_index import RunIndex
from lab.services.settings import current_site
from lab.words import plain

TAIL_BYTES = 64 * 1024
BRANCH_KEYS = ("step", "images_seen", "elapsed_s", "loss", "val_loss", "learning_rate", "grad_norm")
MOST_ANCESTORS = 16
MAX_CURVES = 64
MAX_CURVES_BYTES = 256 * 1024 * 1024
_PREVIEW = re.compile(r"^step-(\d{8,12})\.npz$")


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One run as a list shows it; `status` is what is believed, not what the file claims."""

    run: Run
    status: Status

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def title(self) -> str:
        """The name a person gave, or what it is and the end of its id."""
        return self.run.title

    @property
    def kind(self) -> str:
        """'VAE', 'U-Net' or 'Comparison'; of a kind that is not known here, its name."""
        return self.run.kind.title

    @property
    def data_name(self) -> str:
        """The dataset; from run.json, because config.yaml costs milliseconds to read."""
        return plain(str(self.run.info.dataset.get("name", "pictures")), 40)

    @property
    def state(self) -> str:
        """The state's word."""
        return str(self.status.state)

    @property
    def shown_state(self) -> str:
        """The state as badges say it: 'collapsed' for a finished VAE whose latents carry nothing."""
        return "collapsed" if self.state == "finished" and self.collapsed_kl is not None else self.state

    @property
    def collapsed_kl(self) -> float | None:
        """Nats per image of a VAE that has collapsed, None for every other run."""
        return collapsed_kl(self.run, self.status)

    @property
    def is_active(self) -> bool:
        """True while a process works on it."""
        return self.status.state.is_active

    @property
    def progress(self) -> float:
        """Share that is done, 0 to 1: of its steps, or of its work while it says so."""
        if self.is_active and self.status.share:
            return min(1.0, self.status.share)
        return max(0.0, min(1.0, self.status.step / self.status.steps_total)) if self.status.steps_total else 0.0


def done_in_words(view: RunView) -> str:
    """'step 62 of 100'; '62 %' for a run of one step, such as an evaluation."""
    status = view.status
    if status.steps_total == 1:
        return f"{100 * view.progress:.0f} %"
    return f"{view.run.kind.unit} {count(status.step)} of {count(status.steps_total)}"


def open_store() -> RunStore:
    """The runs folder that config.yaml and the environment name."""
    return RunStore(current_site().runs)


@st.cache_resource(max_entries=4, show_spinner=False)
def _index(root: str) -> RunIndex:
    return RunIndex(Path(root))


def _runs_index() -> RunIndex:
    return _index(str(open_store().root))


def forget_listing() -> None:
    """List the runs anew at the next look: somebody here has changed one."""
    _runs_index().forget()


def list_views(*, comparisons: bool = False) -> list[RunView]:
    """All readable trainings, newest first; at most a second old, see run_index. comparisons: with sampler comparisons,
    which are runs too and live under Schedulers."""
    return [RunView(run=run, status=status) for run, status in _runs_index().pairs() if comparisons or run.kind.listed]


def view_of(run_id: str) -> RunView:
    """One run as it is now. Raises RunNotFound."""
    run, status = _runs_index().pair(run_id)
    return RunView(run=run, status=status)


def broken_folders() -> list[tuple[str, str]]:
    """(folder name, what is wrong) of folders that are no readable runs."""
    return list(_runs_index().broken())


@st.cache_resource(show_spinner=False)
def columns_read() -> BoundedCache[Path, MetricColumns]:
    """Columns of the runs looked at last, for all sessions together."""
    return BoundedCache(max_count=MAX_CURVES, max_bytes=MAX_CURVES_BYTES, size_of=lambda columns: columns.size_bytes)


def curves(run: Run) -> dict[str, np.ndarray]:
    """Columns of metrics.jsonl, NaN where a line lacks a value; {} when nothing was logged yet.

    The same object while the file has not changed; the arrays cannot be written.
    """
    path = run.metrics_path
    reader = columns_read().get_or_make(path, lambda: MetricColumns(path))
    columns = reader.read()
    columns_read().put(path, reader)  # it may have grown
    return columns


def curves_problem(run: Run) -> str:
    """What of metrics.jsonl `curves` left out, in one sentence; '' for nothing."""
    kept = columns_read().get(run.metrics_path)
    return kept.problem if kept else ""


def before_branch(run: Run) -> dict[str, np.ndarray]:
    """Columns of the runs that this one branched from, up to where it did, oldest first; {} without any.

    A run of that line that was deleted ends it.
    """
    parts: list[dict[str, np.ndarray]] = []
    seen, until = {run.id}, float("inf")
    while run.info.branched_from and run.info.branched_from not in seen and len(seen) <= MOST_ANCESTORS:
        until = min(until, run.info.branched_step)
        try:
            run = _runs_index().pair(run.info.branched_from)[0]
        except RunNotFound:
            break
        seen.add(run.id)
        columns = curves(run)
        if columns:
            after = run.info.branched_step if run.info.branched_from else -1
            rows = (columns["step"] <= until) & (columns["step"] > after)
            parts.insert(0, {key: columns[key][rows] for key in BRANCH_KEYS if key in columns})
    if not parts:
        return {}
    return {
        key: np.concatenate([part.get(key, np.full(len(part["step"]), np.nan)) for part in parts])
        for key in BRANCH_KEYS
        if any(key in part for part in parts)
    }


def loss_sample(run: Run) -> list[float]:
    """At most 40 training losses over the whole run, from a few lines of its file: for the small line in a table."""
    stamp = reading.stamp_of(run.metrics_path)
    return list(_loss_sample(run.metrics_path, stamp)) if any(stamp) else []


@lru_cache(maxsize=5000)  # not Streamlit's cache, which copies and hashes: a page asks fifty times a tick
def _loss_sample(path: Path, stamp: reading.Stamp) -> tuple[float, ...]:
    return tuple(sample_values(path, "loss"))


def as_csv(run: Run) -> bytes:
    """Every logged line as CSV."""
    columns = curves(run)
    return csv_text(list(columns), zip(*(column.tolist() for column in columns.values()), strict=True))


@dataclass(frozen=True, kw_only=True)
class Preview:
    """One previews/*.npz: what the run drew (U-Net) or reconstructed (VAE) at a step. (N, H, W, C) uint8 each."""

    step: int
    images: np.ndarray
    inputs: np.ndarray | None


def preview_steps(run: Run) -> list[int]:
    """Steps that have a preview, oldest first."""
    return sorted(int(found[1]) for path in run.previews_dir.glob("step-*") if (found := _PREVIEW.match(path.name)))


@st.cache_data(max_entries=256, show_spinner=False)
def _read_preview(path: Path, stamp: reading.Stamp) -> Preview | None:
    try:
        file = arrays_in(path, most_bytes=MAX_FILE_BYTES)
        inputs = file.get("inputs")
        images = file["reconstructions"] if inputs is not None else file["images"]
        found = Preview(step=int(file["step"]), images=images, inputs=inputs)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, LabError):
        return None
    shown = [images] if inputs is None else [images, inputs]
    good = all(array.ndim == 4 and array.dtype == np.uint8 and array.size for array in shown)
    return found if good else None


def read_preview(run: Run, step: int) -> Preview | None:
    """The preview of a step, or None when it is missing or damaged."""
    path = run.previews_dir / f"step-{step:08d}.npz"
    stamp = reading.stamp_of(path)
    return _read_preview(path, stamp) if any(stamp) else None


def newest_preview(run: Run) -> Preview | None:
    """The last preview that can be read."""
    return next((found for step in reversed(preview_steps(run)) if (found := read_preview(run, step))), None)


def log_tail(run: Run) -> str:
    """The end of the run's log."""
    try:
        return reading.read_tail(run.log_path, TAIL_BYTES).decode(errors="replace").replace("\r", "\n")
    except (OSError, reading.Unreadable):
        return ""


def checkpoints(run: Run) -> list[CheckpointInfo]:
    """Checkpoints, oldest first."""
    return list_checkpoints(run)


def children(run_id: str) -> list[RunView]:
    """Runs that were made from this one, newest first."""
    return [view for view in list_views() if run_id in view.run.info.parents]


def resumed_at(run: Run) -> list[int]:
    """Steps from which the run went on after it had ended, oldest first."""
    steps = [event.get("from_step") for event in run.events() if event.get("event") == "resumed"]
    return [step for step in steps if isinstance(step, int) and step > 0]


def trained_unets() -> list[RunView]:
    """U-Net runs that can draw: they have a checkpoint. Newest first."""
    return [view for view in list_views() if view.run.kind.generates and list_checkpoints(view.run)]
