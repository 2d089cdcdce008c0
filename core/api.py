"""The lab in a notebook: runs, metrics, images and latents as pandas and NumPy know them; docs/runs.md shows how."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from core.config.load import read_site
from core.jobs.engines.choose import observed_status
from core.runs.film import read_film
from core.runs.listing import run_row
from core.runs.metrics import read_metrics
from core.runs.run import Run
from core.runs.store import RunStore

if TYPE_CHECKING:
    import pandas as pd


class Latents(NamedTuple):
    """latents (N, c, h, w) float32, as a U-Net sees them; images (N, H, W, C) uint8; labels (N,)."""

    latents: np.ndarray
    images: np.ndarray
    labels: np.ndarray


def runs(root: Path | None = None) -> pd.DataFrame:
    """One row per readable run, newest first, with the columns of `runs --json`. root: another runs folder."""
    import pandas as pd

    rows = [run_row(each, observed_status(each)) for each in _store(root).list()]
    return pd.DataFrame(rows)


def find(text: str, root: Path | None = None) -> Run:
    """The run with this id, unique beginning or end of it, or name. Raises RunNotFound."""
    return _store(root).get(text)


def metrics(run: Run) -> pd.DataFrame:
    """The logged values by step, NaN where a step has none; an empty frame before the first line."""
    import pandas as pd

    columns = read_metrics(run.metrics_path)
    return pd.DataFrame(columns).set_index("step") if columns else pd.DataFrame()


def samples(run: Run, per_class: int = 1) -> dict[str, np.ndarray]:
    """The newest preview by layer, (N, H, W, C) uint8: predicted images of a U-Net, reconstructions of a VAE.

    Raises LabError for a run without a preview.
    """
    film = read_film(run, per_class=per_class)
    return {name: layer[-1, -1] for name, layer in film.layers.items()}


def latents(run: Run, count: int = 1_000) -> Latents:
    """At most `count` held-out images of the run's dataset, encoded by its VAE; loads PyTorch.

    Raises LabError when the run has no checkpoint, or its dataset is missing.
    """
    from core.latent.inspection.opened_vae import open_subject
    from core.latent.inspection.vae_source import find_subject

    site, _ = read_site()
    subject = find_subject(run, step=None, weights="ema", data_dir=site.data, cache_dir=site.cache, limit=count)
    study = open_subject(subject, cache_dir=site.cache)
    return Latents(study.latents, study.images, study.labels)


def _store(root: Path | None) -> RunStore:
    return RunStore(read_site()[0].runs if root is None else root)
