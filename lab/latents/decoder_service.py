"""What a VAE's decoder survives and how it treats detail, shifts and single numbers, for a screen."""

from __future__ import annotations

from collections.abc import Callable

from core.compute.questions import MEASURE_TRAITS, SURVIVE_NOISE
from core.config.schema import DiffusionSettings
from core.latent.inspection.decoder_results import Survived, Traits
from lab.latents.memoize_bytes import kept
from lab.latents.vae_service import Chosen, asked_vae, name_of
from lab.services.background import Tell
from lab.services.computing import asked
from lab.services.settings import current_site

SURVIVAL_PICTURES, SURVIVAL_POINTS = 256, 25
FEW_PICTURES = 256


def schedule_settings(chosen: Chosen, name: str) -> DiffusionSettings:
    """The run's own diffusion settings for 'own', else a schedule of that name with the defaults."""
    if name == "own":
        return chosen.view.run.settings.diffusion
    return DiffusionSettings(schedule=name, prediction_type="flow" if name == "flow" else "epsilon")  # type: ignore[arg-type]


def survived(chosen: Chosen, schedule: str, *, judged: bool) -> Callable[[Tell, Callable[[], bool]], Survived]:
    """The task that says what the decoder survives. judged: the judge looks too, and is trained first where it never
    was."""
    diffusion, counts = schedule_settings(chosen, schedule), (SURVIVAL_PICTURES, SURVIVAL_POINTS)
    return kept(
        ("survived", *name_of(chosen), schedule, judged),
        asked(SURVIVE_NOISE, asked_vae(chosen), diffusion, *counts, judged, current_site()),
    )


def traits(chosen: Chosen) -> Callable[[Tell, Callable[[], bool]], Traits]:
    """The task that finds spectrum, equivariance and sensitivity over a few hundred pictures."""
    return kept(("traits", *name_of(chosen)), asked(MEASURE_TRAITS, asked_vae(chosen), FEW_PICTURES, current_site()))
