"""Loss against t for a screen. PyTorch is imported inside the functions, under the lock that all models share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import LabError
from core.jobs.worker import place
from lab.services.models import borrowed
from lab.services.runs import open_store

if TYPE_CHECKING:
    from core.evaluation.timestep_loss import TimestepLoss


def loss_of(run_id: str, step: int, on_progress: Callable[[str, float], None]) -> TimestepLoss:
    """The loss of a run's checkpoint at each timestep, measured at most once. Raises a LabError in one sentence."""
    kept = _kept()
    if (run_id, step) not in kept:
        kept[run_id, step] = _measure(run_id, step, on_progress)
        while len(kept) > 64:
            kept.pop(next(iter(kept)))
    return kept[run_id, step]


@st.cache_resource(show_spinner=False)
def _kept() -> dict[tuple[str, int], TimestepLoss]:
    """Measurements of all sessions, about 10 kB each; not st.cache_data, which cannot hold a function for progress."""
    return {}


def _measure(run_id: str, step: int, on_progress: Callable[[str, float], None]) -> TimestepLoss:
    from core.data.arrays import prepare
    from core.evaluation.timestep_loss import timestep_loss

    run = open_store().get(run_id)
    data = run.settings.data.model_copy(update={"download": False})
    image_set = prepare(data, data_dir=place(run, "data"), cache_dir=place(run, "cache"), progress=on_progress)
    with borrowed(run_id, step) as model:
        try:
            return timestep_loss(run, model, image_set, progress=on_progress)
        except OSError as error:
            raise LabError(f"{run.id}: the measurement cannot be kept ({error.strerror or error})") from None
