"""The ceiling of what a U-Net on a VAE can reach, and the judge of its dataset, for a screen."""

from __future__ import annotations

from core.compute.questions import MEASURE_CEILING
from core.evaluation.ceiling_results import Ceiling, ceiling_for
from lab.latents.vae_service import Chosen
from lab.services import judges
from lab.services.background import Task
from lab.services.computing import asked
from lab.services.models import source_of
from lab.services.settings import current_site


def known_ceiling(chosen: Chosen) -> Ceiling | None:
    """The ceiling of this VAE as it was kept, the one over the most pictures; of raw weights there is none."""
    return ceiling_for(chosen.view.run, step=chosen.step) if chosen.weights == "ema" else None


def measure_ceiling(chosen: Chosen, num_pictures: int) -> Task:
    """The task that measures it, which takes a minute or two, and keeps it in the run."""
    return asked(MEASURE_CEILING, chosen.view.id, chosen.step, num_pictures, current_site())


def judge_is_known(chosen: Chosen) -> bool:
    """True when the judge of the run's dataset needs no training."""
    return judges.find(source_of(chosen.view.id)) is not None
