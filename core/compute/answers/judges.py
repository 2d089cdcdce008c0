"""Judges of datasets for a screen: trained once, opened once, and what they see in generated images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.bounded_cache import BoundedCache
from core.compute.answers.images import images_here
from core.compute.question import Tell
from core.config.site import SiteSettings
from core.data.arrays import ImageSet
from core.errors import DataUnavailable, LabError, UsageError
from core.evaluation.folder_judge import judge_of_model_folder
from core.evaluation.judge import Judge, load_kept, load_or_train
from core.model_folders.sources import ModelSource, source_named
from core.runs.store import RunStore

MAX_OPEN = 8
_opened: BoundedCache[tuple[str, str], Judge] = BoundedCache(max_count=MAX_OPEN)


def train_judge(tell: Tell, name: str, site: SiteSettings) -> None:
    """The judge of that model's dataset, where there is none yet. Raises a LabError."""
    trained_judge(tell, source_named(name, RunStore(site.runs), site.models), site)


def trained_judge(progress: Callable[[str, float], None], source: ModelSource, site: SiteSettings) -> Judge:
    """The judge of the model's dataset, trained now where it never was. Raises a LabError."""
    return load_or_train(
        images_of(source, site),
        cache_dir=site.cache,
        epochs=source.settings.evaluation.judge_epochs,
        device=source.settings.machine.device,
        progress=progress,
    )


def odds(tell: Tell, name: str, judge: str, images: np.ndarray, site: SiteSettings) -> np.ndarray:
    """Probabilities (F, N, K) float32 that the judge of that model, whose sha256 is `judge`, gives to each class in
    images (F, N, H, W, C) uint8. Raises a LabError."""
    source = source_named(name, RunStore(site.runs), site.models)
    opened = _opened.get_or_make((source.id, judge), lambda: _open(source, site))
    if opened.hash != judge:
        raise LabError(f"{source.id}: its judge changed meanwhile", "load the page again")
    frames = []
    for frame in images:
        if tell.is_cancelled():
            raise LabError("it was cancelled")
        frames.append(opened.classify(frame))
    return np.stack(frames)


def images_of(source: ModelSource, site: SiteSettings) -> ImageSet:
    """The very images the model learned from; nothing is downloaded. Raises a LabError when they are not here."""
    found = images_here(source.settings.data, site, source.rules)
    if found.fingerprint != source.fingerprint:
        raise UsageError(
            f"{found.name}: is not the dataset that this model learned from ({found.fingerprint[:12]} here, "
            f"{source.fingerprint[:12]} there)"
        )
    return found


def _open(source: ModelSource, site: SiteSettings) -> Judge:
    if source.judge_in is not None:
        found = judge_of_model_folder(source.judge_in)
    else:
        found = load_kept(
            source,
            cache_dir=site.cache,
            epochs=source.settings.evaluation.judge_epochs,
            device=source.settings.machine.device,
        )
    if found is None:
        raise DataUnavailable(f"{source.id}: its judge was removed or is damaged", "train the judge again")
    return found
