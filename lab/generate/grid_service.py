"""Grids that are generated in the background, cell by cell; a cell that was generated once is not generated again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import streamlit as st

from core.bounded_cache import BoundedCache, bytes_of
from core.comparison.recipe_grid import CellImages, GridCell
from core.compute.questions import DRAW_CELLS
from core.sampling.recipe import Recipe
from lab.services import background, models
from lab.services.background import Tell, Work
from lab.services.computing import asked
from lab.services.settings import current_settings, current_site

MAX_KEPT_BYTES = 32 * 2**20
Look = dict[int, CellImages]  # the cells that are there, by their place


@st.cache_resource(show_spinner=False)
def kept_cells() -> BoundedCache[str, CellImages]:
    """The newest cells of all sessions, by what decides them."""
    return BoundedCache(max_bytes=MAX_KEPT_BYTES, size_of=bytes_of)


def begin(recipe: Recipe, cells: Sequence[GridCell], *, watcher: str) -> Work:
    """Generate the grid, or join whoever generates it already. Look and result of the work are a Look."""

    def task(tell: Tell, should_stop: Callable[[], bool]) -> Look:
        keys = {cell.index: models.deciding(cell.recipe) for cell in cells if not cell.problem}
        known = {place: kept_cells().get(key) for place, key in keys.items()}
        found: Look = {place: cell for place, cell in known.items() if cell is not None}
        missing = [place for place in keys if place not in found]
        tell("drawing", 0.0, dict(found))
        if not missing:
            return found

        def arrived(stage: str, fraction: float, look: tuple[int, CellImages] | None = None) -> None:
            if look is not None:
                place, cell = missing[look[0]], look[1]
                found[place] = cell if cell.problem else kept_cells().put(keys[place], cell)
                tell(stage, fraction, dict(found))

        recipes = tuple(cells[place].recipe for place in missing)
        asked(DRAW_CELLS, recipes, current_site(), current_settings().machine)(arrived, should_stop)
        return found

    return background.begin(key_of(recipe), task, watcher=watcher)


def key_of(recipe: Recipe) -> str:
    """Names the work; equal grids of a model in the same state are generated once."""
    return f"grid-{hashlib.sha256(models.deciding(recipe).encode()).hexdigest()[:24]}"
