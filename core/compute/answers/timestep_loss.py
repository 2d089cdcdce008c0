"""The loss of a U-Net's checkpoint at each timestep, for a screen; it stays in the run's folder."""

from __future__ import annotations

from core.compute.answers.models import borrowed
from core.compute.question import Tell
from core.config.site import SiteSettings
from core.data.arrays import prepare
from core.evaluation.timestep_loss import timestep_loss
from core.evaluation.timestep_loss_results import ErrorWeights, TimestepLoss
from core.runs.store import RunStore


def measure_timestep_loss(
    tell: Tell, run_id: str, step: int, weights: ErrorWeights, num_images: int, num_points: int, site: SiteSettings
) -> TimestepLoss:
    """Over that many held-out images, at `num_points` timesteps. Raises a LabError."""
    run = RunStore(site.runs).get(run_id)
    data = run.settings.data.model_copy(update={"download": False})
    image_set = prepare(data, data_dir=site.data, cache_dir=site.cache, rules=run.rules, progress=tell)
    with borrowed(run.id, step, site, run.settings.machine, weights) as model:
        return timestep_loss(
            run, model, image_set, weights=weights, num_pictures=num_images, num_points=num_points, progress=tell
        )
