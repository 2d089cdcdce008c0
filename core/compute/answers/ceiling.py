"""The ceiling of a VAE for a screen: what a U-Net on it can reach at best; it stays in the run's folder."""

from __future__ import annotations

from core.compute.answers.judges import images_of
from core.compute.question import Tell
from core.config.site import SiteSettings
from core.device import resolve_device, take_free_cores
from core.evaluation.ceiling_results import Ceiling
from core.evaluation.vae_ceiling import vae_ceiling
from core.model_folders.sources import source_named
from core.runs.store import RunStore


def measure_ceiling(tell: Tell, run_id: str, step: int | None, num_pictures: int, site: SiteSettings) -> Ceiling:
    """Over that many held-out pictures; the judge is trained first where it never was. Raises a LabError."""
    store = RunStore(site.runs)
    run = store.get(run_id)
    take_free_cores(run.settings.machine.num_threads)
    return vae_ceiling(
        run,
        images_of(source_named(run_id, store, site.models), site),
        num_pictures=num_pictures,
        evaluation=run.settings.evaluation,
        cache_dir=site.cache,
        device=resolve_device(run.settings.machine.device),
        step=step,
        progress=tell,
    )
