"""The judge of a VAE's data set, and the ceiling of what a U-Net on it can reach, for a screen.

PyTorch is imported inside the functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.evaluation.ceiling_results import Ceiling, ceiling_for
from lab.latents.vae_service import Chosen, Progress
from lab.services import judges
from lab.services.models import source_of
from lab.services.settings import current_site

if TYPE_CHECKING:
    from core.data.arrays import ImageSet
    from core.evaluation.judge import Judge


def known_ceiling(chosen: Chosen) -> Ceiling | None:
    """The ceiling of this VAE as it was kept, the one over the most pictures; of raw weights there is none."""
    return ceiling_for(chosen.view.run, step=chosen.step) if chosen.weights == "ema" else None


def measure_ceiling(chosen: Chosen, num_pictures: int, on_progress: Progress) -> Ceiling:
    """Measure it now, which takes a minute or two, and keep it in the run. Raises a LabError."""
    on_progress("loading PyTorch and the VAE", 0.0)
    from core.device import resolve_device
    from core.evaluation.vae_ceiling import vae_ceiling

    run = chosen.view.run
    return vae_ceiling(
        run,
        image_set(chosen),
        num_pictures=num_pictures,
        evaluation=run.settings.evaluation,
        cache_dir=current_site().cache,
        device=resolve_device(run.settings.machine.device),
        step=chosen.step,
        progress=on_progress,
    )


def judge_is_known(chosen: Chosen) -> bool:
    """True when the judge of the run's data set needs no training."""
    return judges.find(source_of(chosen.view.id)) is not None


def judge(chosen: Chosen, on_progress: Progress) -> Judge:
    """The judge of the run's data set, trained now where it never was. Raises a LabError."""
    return judges.trained(source_of(chosen.view.id), on_progress)


def image_set(chosen: Chosen) -> ImageSet:
    """The run's pictures; nothing is downloaded. Raises a LabError."""
    return judges.image_set(source_of(chosen.view.id))
