"""A grid of one recipe's settings: up to three axes, a recipe per cell, and what they cost.

Never imports torch: the form reads axes with it, and refuses what cannot work at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from core.comparison.grid import SETTINGS, Axis, Value, checked_values, expected_evaluations, parse_values
from core.config.schema import DiffusionSettings
from core.errors import UsageError, quoted
from core.sampling.recipe import PER_IMAGE, AxisRecipe, Recipe

GRID_SETTINGS = (*SETTINGS, "guidance_rescale", "label")
MOST_AXES, MOST_CELLS, MOST_IMAGES = 3, 100, 2_048
MOST_PIXELS = MOST_IMAGES * 128**2  # a picture of the grid holds them all, as does the server


@dataclass(frozen=True, kw_only=True)
class GridCell:
    """A place of the grid. values: one per axis, X first. problem: why it cannot be generated, '' when it can."""

    index: int
    values: tuple[Value, ...]
    recipe: Recipe
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class CellImages:
    """The finished images of a cell (N, H, W, C) uint8, none where problem says why. note: what to know of them."""

    images: np.ndarray | None
    weights_sha256: str = ""
    problem: str = ""
    note: str = ""


def axis_from(setting: str, text: str, known: Mapping[str, Sequence[Value]]) -> Axis:
    """An axis as typed: '5, 10, 20', '5-50(5)', names, or 'all'. Raises UsageError as `parse_values` and `check_axes`.

    known: setting → all values that it can take, where they can be listed.
    """
    return Axis(setting=setting, values=parse_values(setting, text, known, settings=GRID_SETTINGS))


def with_axes(recipe: Recipe, axes: Sequence[Axis]) -> Recipe:
    """The recipe of the grid: X, then Y, then Z."""
    return recipe.model_copy(
        update={"axes": tuple(AxisRecipe(setting=axis.setting, values=axis.values) for axis in axes)}
    )


def check_axes(recipe: Recipe, known: Mapping[str, Sequence[Value]], *, image_size: int) -> None:
    """Raises UsageError in one sentence for axes that no grid can have, whoever wrote them.

    known: setting → all values that it can take, where they can be listed. image_size: height and width in pixels.
    """
    if not recipe.axes:
        raise UsageError("the grid has no axis", "choose a setting for X")
    settings = [axis.setting for axis in recipe.axes]
    for axis in recipe.axes:
        if axis.setting not in GRID_SETTINGS:
            raise UsageError(f"'{quoted(axis.setting)}' cannot be an axis", f"use one of {', '.join(GRID_SETTINGS)}")
        if settings.count(axis.setting) > 1:
            raise UsageError(f"{axis.setting}: stands on two axes", "choose a different setting for each")
        for value in checked_values(axis.setting, axis.values):
            listed = known.get(axis.setting)
            if listed is not None and value not in listed:
                few = ", ".join(map(str, listed[:12])) + (", …" if len(listed) > 12 else "")
                raise UsageError(f"{axis.setting}: this model has no {quoted(value)}", f"it has {few}")
    if recipe.branch is not None:
        raise UsageError("a branch cannot be the base of a grid", "use the settings without a branch")
    count = int(np.prod([len(axis.values) for axis in recipe.axes]))
    if count > MOST_CELLS:
        raise UsageError(f"the grid has {count:,} cells, more than {MOST_CELLS}", "give fewer values")
    images = count * len(recipe_at(recipe, [axis.values[0] for axis in recipe.axes]).labels)
    if images > MOST_IMAGES:
        raise UsageError(f"the grid has {images:,} images, more than {MOST_IMAGES:,}", "give fewer values or classes")
    if (most := MOST_PIXELS // image_size**2) < images:
        raise UsageError(
            f"the grid has {images:,} images of {image_size} × {image_size} pixels, more than {most:,}",
            "give fewer values or classes",
        )


def cells_of(recipe: Recipe, diffusion: DiffusionSettings) -> tuple[GridCell, ...]:
    """All cells of checked axes, row by row, a grid per Z; those that the model's schedule refuses say why."""
    cells: list[GridCell] = []
    for place in product(*(axis.values for axis in reversed(recipe.axes))):
        values = place[::-1]
        cell = recipe_at(recipe, values)
        problem = diffusion.sampler_problem(cell.sampler, cell.num_inference_steps) or ""
        cells.append(GridCell(index=len(cells), values=values, recipe=cell, problem=problem))
    return tuple(cells)


def recipe_at(recipe: Recipe, values: Sequence[Value]) -> Recipe:
    """The recipe of the cell at these values of its axes: with all other settings and the noise of the grid's recipe.

    Of a class the cell holds as many images as the grid's recipe has of its first class, from the same noise.
    """
    changes: dict[str, Any] = {"axes": ()}
    for axis, value in zip(recipe.axes, values, strict=True):
        if axis.setting == "label":
            first = [place for place, label in enumerate(recipe.labels) if label == recipe.labels[0]]
            for name in PER_IMAGE:
                if found := getattr(recipe, name):
                    changes[name] = tuple(found[place] for place in first)
            if recipe.start is not None and recipe.start.places:
                places = tuple(recipe.start.places[place] for place in first)
                changes["start"] = recipe.start.model_copy(update={"places": places})
            changes["labels"] = (int(value),) * len(first)
        elif axis.setting != "seed":
            changes[axis.setting] = float(value) if axis.setting.startswith("guidance") else value
    count = len(changes.get("labels", recipe.labels))
    for axis, value in zip(recipe.axes, values, strict=True):
        if axis.setting == "seed":
            changes["seeds"] = (int(value),) * count
    return recipe.model_copy(update=changes)


def evaluations(cells: Sequence[GridCell]) -> int:
    """Passes of one image through the U-Net, in all cells that can be generated."""
    return sum(len(cell.recipe.labels) * expected_evaluations(cell.recipe) for cell in cells if not cell.problem)
