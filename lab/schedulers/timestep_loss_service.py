"""Loss against t for a screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from core.bounded_cache import BoundedCache
from core.compute.questions import MEASURE_TIMESTEP_LOSS
from core.evaluation.timestep_loss_results import ErrorWeights, TimestepLoss, key_of, read_kept
from core.runs.listing import list_checkpoints
from core.runs.run import Run
from lab.services.computing import asked
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

    def measure() -> TimestepLoss:
        on_progress("loading PyTorch and the model", 0.0)
        work = asked(MEASURE_TIMESTEP_LOSS, run.id, step, weights, PICTURES, POINTS, current_site())
        return work(lambda stage, fraction, look=None: on_progress(stage, fraction), lambda: False)

    return measurements().get_or_make(key, lambda: read_kept(run, step, key) or measure())


@st.cache_resource(show_spinner=False)
def measurements() -> BoundedCache[str, TimestepLoss]:
    """Measurements of all sessions, about 10 kB each; not st.cache_data, which cannot hold a function for progress."""
    return BoundedCache(max_count=MAX_MEASUREMENTS)
