"""Loss against t for a screen. PyTorch is imported inside the functions, under the lock that all models share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from core.bounded_cache import BoundedCache
from core.evaluation.timestep_loss_results import ErrorWeights, TimestepLoss, key_of, read_kept
from core.runs.listing import list_checkpoints
from core.runs.run import Run
from lab.services.models import borrowed
from lab.services.settings import current_site

PICTURES = 512
POINTS = 25
MAX_MEASUREMENTS = 64


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a measurement is of: the averaged or the raw weights at a step. name: as the link has it."""

    step: int
    weights: ErrorWeights

    @property
    def name(self) -> str:
        """'1700' or '1700-raw'."""
        return str(self.step) if self.weights == "ema" else f"{self.step}-raw"


def checkpoints_of(run: Run) -> dict[str, Checkpoint]:
    """A run's checkpoints by name, newest first, averaged weights before raw ones."""
    steps = [info.step for info in list_checkpoints(run)][::-1]
    found = [Checkpoint(step=step, weights=weights) for weights in ("ema", "raw") for step in steps]
    return {each.name: each for each in found}


def loss_of(run: Run, checkpoint: Checkpoint, on_progress: Callable[[str, float], None]) -> TimestepLoss:
    """The loss at each timestep: from memory, from the run's folder, or measured now. Raises a LabError."""
    step, weights = checkpoint.step, checkpoint.weights
    key = key_of(run, step, weights=weights, num_pictures=PICTURES, num_points=POINTS)
    return measurements().get_or_make(key, lambda: read_kept(run, step, key) or _measure(run, checkpoint, on_progress))


@st.cache_resource(show_spinner=False)
def measurements() -> BoundedCache[str, TimestepLoss]:
    """Measurements of all sessions, about 10 kB each; not st.cache_data, which cannot hold a function for progress."""
    return BoundedCache(max_count=MAX_MEASUREMENTS)


def _measure(run: Run, checkpoint: Checkpoint, on_progress: Callable[[str, float], None]) -> TimestepLoss:
    on_progress("loading PyTorch and the model", 0.0)
    from core.data.arrays import prepare
    from core.evaluation.timestep_loss import timestep_loss

    data = run.settings.data.model_copy(update={"download": False})
    site = current_site()
    image_set = prepare(data, data_dir=site.data, cache_dir=site.cache, rules=run.rules, progress=on_progress)
    with borrowed(run.id, checkpoint.step, checkpoint.weights) as model:
        return timestep_loss(
            run,
            model,
            image_set,
            weights=checkpoint.weights,
            num_pictures=PICTURES,
            num_points=POINTS,
            progress=on_progress,
        )
