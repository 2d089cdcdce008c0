"""The training images nearest to generated ones, for a screen."""

from __future__ import annotations

import numpy as np

from core.bounded_cache import BoundedCache
from core.compute.answers.judges import images_of
from core.compute.question import Tell
from core.config.site import SiteSettings
from core.evaluation.nearest import heldout_distances, nearest_pictures
from core.evaluation.nearest_results import Nearest
from core.model_folders.sources import source_named
from core.runs.store import RunStore

MAX_MEASURES = 1024  # of a class each, a few kilobytes
_measures: BoundedCache[tuple[str, int], np.ndarray] = BoundedCache(max_count=MAX_MEASURES)


def nearest(tell: Tell, name: str, images: np.ndarray, labels: tuple[int, ...], site: SiteSettings) -> Nearest:
    """Of images (N, H, W, C) uint8 that this model generated for these classes. Raises a LabError."""
    source = source_named(name, RunStore(site.runs), site.models)
    image_set = images_of(source, site)
    found = nearest_pictures(images, image_set.train, should_stop=tell.is_cancelled)
    closer = []
    for label, distance in zip(labels, found.distances, strict=True):
        real = _measures.get_or_make(
            (image_set.fingerprint, label),
            lambda label=label: heldout_distances(image_set, label, should_stop=tell.is_cancelled),  # type: ignore[misc]
        )
        closer.append(float((real < distance).mean()) if len(real) else np.nan)
    return Nearest(
        pictures=np.array(image_set.train.images[found.indices]),
        labels=np.array(image_set.train.labels[found.indices]),
        places=found.indices,
        distances=found.distances,
        closer=np.array(closer),
        every=found.every,
    )
