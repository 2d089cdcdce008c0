"""Models that generate, and drawings with them, which all sessions share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st

from core.bounded_cache import BoundedCache, bytes_of
from core.compute.questions import DRAW
from core.errors import LabError, UsageError
from core.home import PROGRAM
from core.model_folders.sources import ModelSource, list_sources, source_named
from core.sampling.drawing import Drawing, joined
from core.sampling.recipe import Recipe
from lab.services.computing import asked
from lab.services.runs import list_views, open_store
from lab.services.settings import current_settings, current_site

MAX_KEPT_BYTES = 48 * 2**20  # of the bundled model: 45 drawings of ten images in 50 steps
MAX_PICTURES = 64
OnStep = Callable[[int, int, np.ndarray], None]


@st.cache_resource(show_spinner=False)
def drawings() -> BoundedCache[tuple[str, bool], Drawing]:
    """The newest drawings of all sessions, by what decides them; not st.cache_data, which cannot hold a callback."""
    return BoundedCache(max_bytes=MAX_KEPT_BYTES, size_of=bytes_of)


def model_sources() -> list[ModelSource]:
    """Every U-Net run with a checkpoint, newest first, then the model folders, the bundled demo before the others."""
    return list_sources((view.run for view in list_views()), current_site().models)


def source_of(name: str) -> ModelSource:
    """The source of that id, or 'model:<folder>', once its files could be read. Raises a LabError."""
    found = source_named(name, open_store(), current_site().models)
    found.settings, found.class_names, found.fingerprint, found.channels  # noqa: B018 - each reads a file
    return found


def kept_drawing(recipe: Recipe, *, with_layers: bool = False) -> Drawing | None:
    """The drawing of this recipe when it is among the newest ones; one with layers serves whoever wants none."""
    key = deciding(recipe)
    return (None if with_layers else drawings().get((key, False))) or drawings().get((key, True))


def draw_recipe(
    recipe: Recipe,
    *,
    with_layers: bool = False,
    on_step: OnStep | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Drawing:
    """Let the whole path be drawn and keep it, or take it from the newest drawings.

    on_step(steps done, steps, predicted clean pictures (N, H, W, C)), at most ten times a second. It ends within a
    moment once should_stop() says so; nothing is kept then, as with any error. Raises a LabError in one sentence.
    """
    if len(recipe.labels) > MAX_PICTURES:
        raise UsageError(
            f"recipe: {len(recipe.labels):,} images, at most {MAX_PICTURES} can be generated in the browser",
            f"use {PROGRAM} sample --recipe",
        )
    kept = kept_drawing(recipe, with_layers=with_layers)
    if kept is not None:
        return kept

    parts = recipe.parts()
    if len(parts) > 1:  # of which those that were generated before are there
        found: list[Drawing] = []
        for part in parts:
            told = None if on_step is None else _told_of_all(on_step, found, len(parts), len(recipe.labels))
            found.append(draw_recipe(part, with_layers=with_layers, on_step=told, should_stop=should_stop))
        return drawings().put((deciding(recipe), with_layers), joined(found, recipe))

    def tell(stage: str, fraction: float, look: tuple[int, int, np.ndarray] | None = None) -> None:
        if on_step and look:
            on_step(*look)

    draw = asked(DRAW, recipe, current_site(), current_settings().machine, with_layers)
    return drawings().put((deciding(recipe), with_layers), draw(tell, should_stop))


def _told_of_all(on_step: OnStep, done: list[Drawing], parts: int, count: int) -> OnStep:
    """on_step for one part of a recipe: with the images of the parts before it, and black ones for those to come."""

    def told(step: int, steps: int, images: np.ndarray) -> None:
        before = [drawing.images for drawing in done]
        missing = count - sum(map(len, before)) - len(images)
        rest = np.zeros((missing, *images.shape[1:]), images.dtype)
        on_step(len(done) * steps + step, parts * steps, np.concatenate([*before, images, rest]))

    return told


def deciding(recipe: Recipe) -> str:
    """What decides the images: the recipe and the state of its model, without what is only told about them.

    The hash of the weights stays: it decides what is said about the weights.
    """
    try:
        stamp = source_named(recipe.source, open_store(), current_site().models).stamp
    except LabError:
        stamp = ()
    return f"{stamp} {recipe.model_copy(update={'versions': recipe.rules.written()}).to_json()}"
