"""Grids of a recipe's settings: the cells, what they cost, and axes that are refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from core.comparison.grid import Axis
from core.comparison.recipe_grid import axis_from, cells_of, check_axes, evaluations, with_axes
from core.config.load import load_config
from core.errors import UsageError
from core.sampling.recipe import Recipe, StartRecipe, read_recipe

FLOW = load_config().diffusion
KNOWN = {"sampler": ("unipc", "euler", "heun"), "label": (0, 1, 2), "step": (30, 8), "weights": ("ema", "raw")}
BASE = Recipe(
    source="run",
    step=30,
    labels=(0, 1, 0, 1),
    seeds=(5,) * 4,
    places=(0, 2, 1, 3),
    sampler="unipc",
    num_inference_steps=10,
    guidance_scale=1.5,
    start=StartRecipe(at=2, places=(7, 8, 9, 10)),
)


def grid(*axes: str, **changes: Any) -> Recipe:
    found = [axis_from(*text.split("=", 1), KNOWN) for text in axes]
    recipe = with_axes(BASE.model_copy(update=changes), found)
    check_axes(recipe, KNOWN, image_size=32)
    return recipe


def test_cells_stand_row_by_row_and_change_their_axes_only() -> None:
    cells = cells_of(grid("num_inference_steps=4, 8", "sampler=unipc, euler", "guidance_rescale=0-0.5(0.5)"), FLOW)
    assert [cell.values for cell in cells][:3] == [(4, "unipc", 0.0), (8, "unipc", 0.0), (4, "euler", 0.0)]
    assert [cell.index for cell in cells] == list(range(8))
    expected = {"num_inference_steps": 8, "sampler": "euler", "guidance_rescale": 0.5}
    assert cells[-1].recipe == BASE.model_copy(update=expected)


def test_a_seed_and_a_class_as_axes_keep_the_other_noise() -> None:
    first, second, *_ = cells_of(grid("seed=5,6", "label=2"), FLOW)
    assert (first.recipe.labels, first.recipe.seeds, first.recipe.places) == ((2, 2), (5, 5), (0, 1))
    assert first.recipe.start is not None and first.recipe.start.places == (7, 9)
    assert second.recipe == first.recipe.model_copy(update={"seeds": (6, 6)})


def test_the_cost_counts_guidance_and_second_stages_and_no_refused_cell() -> None:
    cells = cells_of(grid("sampler=unipc,heun", "num_inference_steps=4,10", guidance_scale=1.0), FLOW)
    assert evaluations(cells) == 4 * (4 + 10 + 7 + 19)  # Heun evaluates twice per step but the last
    assert evaluations(cells_of(grid("sampler=unipc", guidance_scale=2.0), FLOW)) == 4 * 10 * 2
    cosine = load_config(overrides={"diffusion.schedule": "cosine", "diffusion.prediction_type": "v_prediction"})
    unfit = cells_of(grid("sampler=unipc,heun"), cosine.diffusion)
    assert "diverges" in unfit[1].problem and evaluations(unfit) == 4 * 10 * 2


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ((), "no axis"),
        (("eta=1",), "'eta' cannot be compared"),
        (("sampler=nope",), "sampler: 'nope' does not exist"),
        (("sampler=dpmpp_2m",), "sampler: this model has no dpmpp_2m"),
        (("label=9",), "label: this model has no 9"),
        (("seed=1,1",), "seed: 1 is given twice"),
        (("seed=",), "seed: no values"),
        (("guidance_rescale=2",), "guidance_rescale: must be from 0 to 1"),
        (("seed=1,2", "seed=3"), "seed: stands on two axes"),
        (("seed=0-19", "num_inference_steps=1-10"), "200 cells, more than 100"),
    ],
)
def test_bad_axes_cost_one_sentence(axes: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        grid(*axes)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_too_many_images_and_a_branch_are_refused() -> None:
    with pytest.raises(UsageError, match="images, more than"):
        grid("seed=0-49", labels=(0,) * 64, seeds=(5,) * 64, places=(), start=None)
    wild = BASE.model_copy(update={"axes": with_axes(BASE, [Axis(setting="step", values=(999,))]).axes})
    with pytest.raises(UsageError, match="step: this model has no 999"):
        check_axes(wild, KNOWN, image_size=32)
    many = grid("seed=0-49", labels=(0,) * 4)
    check_axes(many, KNOWN, image_size=256)
    with pytest.raises(UsageError, match="200 images of 512 × 512 pixels, more than 128"):
        check_axes(many, KNOWN, image_size=512)


def test_a_grid_travels_in_its_recipe_and_is_no_single_drawing() -> None:
    recipe = grid("num_inference_steps=4,8", "guidance_scale=1-2(0.5)")
    assert read_recipe(recipe.to_json().encode(), where="grid.json") == recipe
    assert "axes" not in BASE.to_json() and "batch" not in BASE.to_json()
    with pytest.raises(UsageError, match="a grid of settings"):
        recipe.request()
