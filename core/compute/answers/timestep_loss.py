"""The loss of a U-Net's checkpoint at each timestep, for a screen; it stays in the run's folder."""

from __future__ import annotations

from core.compute.answers.images import images_here
from core.compute.answers.models import borrowed
from core.compute.question import Tell
from core.config.site import SiteSettings
from core.device import take_free_cores
from core.evaluation.timestep_loss import timestep_loss
from core.evaluation.timestep_loss_results import ErrorWeights, TimestepLoss
from core.runs.store import RunStore


def measure_timestep_loss(
    tell: Tell, run_id: str, step: int, weights: ErrorWeights, num_images: int, num_points: int, site: SiteSettings
) -> TimestepLoss:
    """Over that many held-out images, at `num_points` timesteps. Raises a LabError."""
    run = RunStore(site.runs).get(run_id)
    image_set = images_here(run.settings.data, site, run.rules, tell)
    with borrowed(run.id, step, site, run.settings.machine, weights) as model:
        take_free_cores(run.settings.machine.num_threads)
        return timestep_loss(
            run, model, image_set, weights=weights, num_pictures=num_images, num_points=num_points, progress=tell
        )
