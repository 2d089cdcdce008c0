"""The trade-off of guidance and steps: lines, the run's own cell, and a suggestion that half of the images chose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core.comparison.comparison_results import CellResult, Comparison
from core.comparison.grid import Axis, CellSettings, ComparisonRequest, cells_of
from core.comparison.trade_off import HalfFigures, HalvedCell, cell_of, is_trade_off, lines_of, suggested
from core.config.schema import DiffusionSettings

BASE = CellSettings(
    sampler="unipc",
    num_inference_steps=10,
    guidance_scale=1.5,
    seed=0,
    weights="ema",
    step=9,
    guidance_interval=(0.1, 1.0),
)
REQUEST = ComparisonRequest(
    run_id="r",
    rows=Axis(setting="guidance_scale", values=(3.0, 1.0)),
    columns=Axis(setting="num_inference_steps", values=(5, 10)),
    base=BASE,
    num_samples=20,
    with_reference=False,
)


def comparison(request: ComparisonRequest = REQUEST, *, done: int = 4) -> Comparison:
    cells = cells_of(request, DiffusionSettings())
    results = {cell.index: CellResult(index=cell.index, settings=cell.settings) for cell in cells[:done]}
    return Comparison(id="c", folder=Path(), request=request, cells=cells, results=results)


def test_a_line_holds_the_cells_that_differ_in_guidance_only_lowest_first() -> None:
    found = {line.name: [each.settings.guidance_scale for each in line.points] for line in lines_of(comparison())}
    assert found == {"5 steps": [1.0, 3.0], "10 steps": [1.0, 3.0]}
    turned = replace(REQUEST, rows=REQUEST.columns, columns=REQUEST.rows)
    assert {line.name for line in lines_of(comparison(turned))} == {"5 steps", "10 steps"}
    assert [len(line.points) for line in lines_of(comparison(done=3))] == [2, 1], "what is not done is left out"


def test_only_a_comparison_of_guidance_is_one() -> None:
    samplers = replace(REQUEST, rows=Axis(setting="sampler", values=("ddim", "unipc")))
    assert is_trade_off(comparison())
    assert not is_trade_off(comparison(samplers))


def test_the_runs_own_cell_has_all_its_settings_but_the_seed() -> None:
    own = replace(BASE, guidance_scale=3.0, seed=7, step=0)
    found = cell_of(comparison(), own)
    assert found is not None
    assert (found.settings.guidance_scale, found.settings.num_inference_steps) == (3.0, 10)
    assert cell_of(comparison(), replace(own, guidance_interval=(0.0, 1.0))) is None
    assert cell_of(comparison(), BASE) is None


def half(fd: float, accuracy: float = 0.9, count: int = 300) -> HalfFigures:
    return HalfFigures(count=count, fd_judge=fd, class_accuracy=accuracy, recall=0.5)


def test_the_half_that_chooses_decides_and_the_other_has_no_say() -> None:
    lucky = HalvedCell(index=0, chooses=half(0.3), states=half(0.1))
    chosen = HalvedCell(index=1, chooses=half(0.2), states=half(0.4))
    assert suggested([lucky, chosen]) is chosen
    assert suggested([]) is None


def test_no_distance_is_worth_many_wrong_classes() -> None:
    wrong = HalvedCell(index=0, chooses=half(0.1, accuracy=0.87), states=half(0.1))
    right = HalvedCell(index=1, chooses=half(0.2), states=half(0.2))
    assert suggested([wrong, right]) is right


def test_halves_of_few_images_suggest_nothing() -> None:
    assert suggested([HalvedCell(index=0, chooses=half(0.1, count=255), states=half(0.1))]) is None
