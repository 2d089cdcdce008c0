"""VAEs opened for the Latents page: what they do to held-out pictures, the map of them, and decoded latents."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import numpy as np

from core.bounded_cache import BoundedCache
from core.compute.answers.models import free_gpu
from core.compute.question import Tell
from core.config.site import SiteSettings
from core.device import take_free_cores
from core.errors import CheckpointError, LabError, UsageError
from core.latent.inspection.opened_vae import LatentStudy, open_subject
from core.latent.inspection.overview import LatentOverview
from core.latent.inspection.projection import LatentMap, principal_components
from core.latent.inspection.quality import look_at, make_overview
from core.latent.inspection.vae_source import AskedVae, LatentSubject, find_subject, indices_of
from core.runs.store import RunStore

MAX_OPEN = 4
POLITE = 10  # of Unix' niceness: what people look at comes first
COMPONENTS = 8
studies: BoundedCache[tuple[str, str, str], LatentStudy] = BoundedCache(max_count=MAX_OPEN, on_release=free_gpu)


def first_look(tell: Tell, asked: AskedVae, site: SiteSettings) -> LatentOverview:
    """What the VAE does to these few pictures; nothing is kept. Raises a LabError."""
    subject = _subject(asked, site)
    machine = subject.run.settings.machine
    take_free_cores(machine.num_threads)
    return look_at(subject, open_subject(subject, device=machine.device, cache_dir=None, progress=tell), progress=tell)


def measure(tell: Tell, asked: AskedVae, site: SiteSettings, polite: bool) -> None:
    """What the VAE does to these pictures, kept in the cache. polite: gives way to all else. Raises a LabError."""
    if polite:  # of this thread, which has no other question, and of those that it starts
        with contextlib.suppress(OSError):
            os.nice(max(0, POLITE - os.nice(0)))  # more polite than that already, it stays so
    subject = _subject(asked, site)

    def half(first: float) -> Callable[[str, float], None]:
        return lambda text, fraction: tell(text, first + fraction / 2)

    try:
        make_overview(subject, _opened(subject, site, half(0.0)), site.cache, progress=half(0.5))
    except OSError as error:
        raise LabError(f"{site.cache}: what was measured cannot be kept: {error.strerror or error}") from None


@contextlib.contextmanager
def opened(tell: Tell, asked: AskedVae, site: SiteSettings) -> Iterator[LatentStudy]:
    """The VAE with the posterior of its pictures; the newest four stay open. Raises a LabError."""
    key = (asked.run_id, asked.key, asked.weights)
    with studies.lease(key, lambda: _opened(_subject(asked, site), site, tell)) as study:
        yield study


def make_map(tell: Tell, asked: AskedVae, count: int, site: SiteSettings) -> LatentMap:
    """At most `count` of its pictures, always the same ones, with their principal components. Raises a LabError."""
    with opened(tell, asked, site) as study:
        indices = indices_of(len(study.labels), count)
        if len(indices) < 2:
            raise UsageError(f"{asked.run_id}: the map needs at least 2 held-out images, got {len(indices)}")
        latents = np.ascontiguousarray(study.latents[indices])
        return LatentMap(
            key=study.key,
            images=np.array(study.images[indices]),
            labels=np.array(study.labels[indices]),
            class_names=study.class_names,
            latents=latents,
            components=principal_components(latents, COMPONENTS),
            spread=float(latents.std(axis=0).mean()),
        )


def decode(tell: Tell, asked: AskedVae, latents: np.ndarray, site: SiteSettings) -> np.ndarray:
    """Latents (N, c, h, w) as a U-Net sees them → pictures (N, H, W, C) uint8. Raises a LabError."""
    with opened(tell, asked, site) as study:
        return study.decode(latents)


def _opened(subject: LatentSubject, site: SiteSettings, progress: Callable[[str, float], None]) -> LatentStudy:
    progress("loading the VAE", 0.0)
    machine = subject.run.settings.machine
    take_free_cores(machine.num_threads)
    return open_subject(subject, device=machine.device, cache_dir=site.cache, progress=progress)


def _subject(asked: AskedVae, site: SiteSettings) -> LatentSubject:
    run = RunStore(site.runs).get(asked.run_id)
    found = find_subject(
        run, step=asked.step, weights=asked.weights, data_dir=site.data, cache_dir=site.cache, limit=asked.limit
    )
    if found.key != asked.key:
        raise CheckpointError(f"{run.id}: its VAE was replaced just now", "load the page again")
    return found
