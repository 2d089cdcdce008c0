"""The link to Generate with sampling settings that were found elsewhere."""

from __future__ import annotations

from core.comparison.grid import CellSettings
from core.config.interval import SIGMA, Interval


def interval_query(interval: Interval) -> dict[str, str | list[str]]:
    """Where guidance acts, as the controls of Generate take it from the address."""
    low, high = (f"{level:g}" for level in interval[:2])
    return {"interval": [low, high]} if len(interval) == 2 else {"levels": SIGMA, "sigma-low": low, "sigma-high": high}


def link_to_generate(run_id: str, settings: CellSettings) -> dict[str, str | list[str]]:
    """The query of the page Generate with these settings of a run."""
    return {
        "view": "Create",
        "run": run_id,
        "checkpoint": str(settings.step),
        "weights": settings.weights,
        "sampler": settings.sampler,
        "steps": str(settings.num_inference_steps),
        "guidance": f"{settings.guidance_scale:g}",
        "rescale": f"{settings.guidance_rescale:g}",
        **interval_query(settings.guidance_interval),
        "seed": str(settings.seed),
    }
