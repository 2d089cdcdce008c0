"""Films of learning, as the screens get them: which runs have one, and the film so far. Never imports PyTorch."""

from __future__ import annotations

import contextlib

from core.runs import film as core_film
from core.runs.film import Film
from core.runs.film_export import Axis, animation
from core.runs.run import Run
from lab.services.runs import RunView, list_views, view_of

Stamp = tuple[tuple[int, int, int], ...]


def filmed_views() -> list[RunView]:
    """VAE and U-Net runs that have a preview, newest first."""
    return [view for view in list_views() if core_film.preview_paths(view.run)]


def stamp_of(run: Run) -> Stamp:
    """(step, size, time of writing) of every preview: another film has another stamp."""
    found = []
    for step, path in core_film.preview_paths(run):
        with contextlib.suppress(OSError):
            facts = path.stat()
            found.append((step, facts.st_size, facts.st_mtime_ns))
    return tuple(found)


def film_of(run_id: str, per_class: int) -> Film:
    """The film so far. Raises a LabError in one sentence."""
    return core_film.read_film(view_of(run_id).run, per_class=per_class)


def animation_of(run_id: str, per_class: int, axis: Axis) -> bytes:
    """The film as an animated WebP. Raises a LabError in one sentence."""
    return animation(film_of(run_id, per_class), axis=axis)
