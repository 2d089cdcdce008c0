"""Axes as people type them, the grid between them, and what is refused in one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.comparison.comparison_results import REQUESTS, read_request
from core.comparison.grid import (
    MAX_CELLS,
    Axis,
    CellSettings,
    ComparisonRequest,
    allowed_samplers,
    cells_of,
    check_request,
    cost_of,
    expected_evaluations,
    follows_path,
    in_run_order,
    parse_axis,
    parse_values,
    path_reference,
    quality_reference,
    reference_in_words,
    settings_in_words,
)
from core.config.load import load_config
from core.config.schema import DiffusionSettings
from core.errors import UsageError

BASE = CellSettings(sampler="unipc", num_inference_steps=10, guidance_scale=1.5, seed=0, weights="ema", step=30)
FLOW = load_config().diffusion
COSINE = load_config(overrides={"diffusion.schedule": "cosine", "diffusion.prediction_type": "v_prediction"}).diffusion


def request(rows: str = "sampler=unipc,euler", columns: str = "num_inference_steps=5,10", **changes: Any):
    known = {"sampler": allowed_samplers(changes.pop("diffusion", FLOW))}
    values: dict[str, Any] = {"run_id": "run", "base": BASE, "num_samples": 100, **changes}
    return ComparisonRequest(rows=parse_axis(rows, known), columns=parse_axis(columns, known), **values)


@pytest.mark.parametrize(
    ("setting", "text", "values"),
    [
        ("num_inference_steps", "5,10,20", (5, 10, 20)),
        ("num_inference_steps", "5-50(15)", (5, 20, 35, 50)),
        ("num_inference_steps", "5-12(5)", (5, 10)),
        ("num_inference_steps", " 3 - 5 , 8 ", (3, 4, 5, 8)),
        ("num_inference_steps", "7-7", (7,)),
        ("guidance_scale", "1.0-3.0(0.5)", (1.0, 1.5, 2.0, 2.5, 3.0)),
        ("guidance_scale", "0-0.3(0.1)", (0.0, 0.1, 0.2, 0.3)),
        ("seed", "0-3", (0, 1, 2, 3)),
        ("sampler", "unipc, euler", ("unipc", "euler")),
        ("weights", "all", ("ema", "raw")),
        ("step", "8,16", (8, 16)),
    ],
)
def test_values_as_people_type_them(setting: str, text: str, values: tuple[Any, ...]) -> None:
    assert parse_values(setting, text) == values


def test_all_means_what_fits_the_run() -> None:
    assert parse_values("sampler", "all", {"sampler": allowed_samplers(FLOW)}) == FLOW_SAMPLERS
    assert parse_values("step", "all", {"step": [8, 30]}) == (8, 30)


FLOW_SAMPLERS = ("euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "unipc")


@pytest.mark.parametrize(
    ("setting", "text", "words"),
    [
        ("steps", "5", "cannot be compared"),
        ("num_inference_step", "5", "did you mean num_inference_steps"),
        ("num_inference_steps", "", "no values"),
        ("num_inference_steps", " , ", "no values"),
        ("num_inference_steps", "all", "has no meaning here"),
        ("num_inference_steps", "50-5", "runs backwards"),
        ("num_inference_steps", "5-50(0)", "stride 0"),
        ("num_inference_steps", "1-900", "more than 200 values"),
        ("num_inference_steps", "5,5", "given twice"),
        ("num_inference_steps", "0", "from 1 to 1,000"),
        ("num_inference_steps", "-5", "from 1 to 1,000"),
        ("num_inference_steps", "2.5", "whole number"),
        ("num_inference_steps", "five", "not a number"),
        ("num_inference_steps", "1e400", "whole number"),
        ("guidance_scale", "nan", "not a number"),
        ("guidance_scale", "51", "from 0 to 50"),
        ("guidance_scale", "1-3(0.001)", "more than 200 values"),
        ("seed", "1..2-3", "not a number"),
        ("seed", "4294967296", "from 0 to"),
        ("sampler", "unipcc", "did you mean unipc"),
        ("sampler", "<img src=x>", "does not exist"),
        ("weights", "best", "there are ema, raw"),
        ("seed", "1," * 3000, "longer than"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(setting: str, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_values(setting, text)
    assert len(str(caught.value)) < 300


def test_a_range_too_fine_for_its_digits_ends() -> None:
    assert parse_values("guidance_scale", f"1-1(0.{'0' * 60}1)") == (1.0,)


def test_an_axis_needs_an_equals_sign() -> None:
    with pytest.raises(UsageError, match="expected SETTING=VALUES"):
        parse_axis("sampler")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"columns": Axis(setting="sampler", values=("heun",))}, "both are sampler"),
        ({"columns": Axis(setting="seed", values=tuple(range(MAX_CELLS)))}, "400 cells"),
        ({"columns": Axis(setting="colour", values=(1,))}, "cannot be compared"),
        ({"num_samples": 5}, "num_samples"),
        ({"num_samples": 10**9}, "num_samples"),
        ({"recall_neighbours": 20, "num_samples": 10}, "recall_neighbours"),
        ({"with_reference": "yes"}, "with_reference"),
        ({"base": replace(BASE, weights="best")}, "weights"),
    ],
)
def test_a_request_that_no_job_could_carry_out_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_request(replace(request(), **changes))


def test_cells_are_counted_row_by_row_and_take_the_rest_from_the_base() -> None:
    cells = cells_of(request(), FLOW)
    assert [(cell.row, cell.column, cell.settings.sampler, cell.settings.num_inference_steps) for cell in cells] == [
        (0, 0, "unipc", 5),
        (0, 1, "unipc", 10),
        (1, 0, "euler", 5),
        (1, 1, "euler", 10),
    ]
    assert [cell.index for cell in cells] == [0, 1, 2, 3]
    assert {cell.settings.guidance_scale for cell in cells} == {1.5}


def test_what_the_gate_refuses_stays_in_the_grid_with_the_reason() -> None:
    asked = request("sampler=heun,ddim,unipc", "num_inference_steps=10,30", diffusion=COSINE)
    problems = {(cell.row, cell.column): cell.problem for cell in cells_of(asked, COSINE)}
    assert "trailing timesteps of the cosine schedule" in problems[0, 0]
    assert "does not divide" in problems[1, 1]
    assert not problems[1, 0]
    assert not problems[2, 1]


def test_what_reloads_the_model_is_the_outer_loop_and_cheap_cells_come_first() -> None:
    cells = in_run_order(cells_of(request("num_inference_steps=20,5", "step=30,8"), FLOW))
    assert [(cell.settings.step, cell.settings.num_inference_steps) for cell in cells] == [
        (8, 5),
        (8, 20),
        (30, 5),
        (30, 20),
    ]


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({}, 20),
        ({"guidance_scale": 1.0}, 10),
        ({"guidance_scale": 0.0}, 20),
        ({"sampler": "heun"}, 38),
        ({"sampler": "heun", "guidance_scale": 1.0}, 19),
    ],
)
def test_guidance_doubles_the_passes_and_heun_takes_two_a_step(changes: dict[str, Any], passes: int) -> None:
    assert expected_evaluations(replace(BASE, **changes)) == passes


def test_the_cost_counts_drawn_cells_and_both_references() -> None:
    asked = request("sampler=heun,unipc", "num_inference_steps=5,10", diffusion=COSINE, num_samples=200)
    cost = cost_of(asked, COSINE)
    assert (cost.cells, cost.refused) == (4, 2)
    assert cost.cell_evaluations == 200 * 2 * (5 + 10)
    assert cost.reference_evaluations == (200 + 100) * 1000 * 2
    assert cost_of(replace(asked, with_reference=False), COSINE).reference_evaluations == 0


def test_one_reference_serves_both_purposes_in_flow_matching() -> None:
    assert quality_reference(request(), FLOW) == path_reference(request(), FLOW)
    assert cost_of(request(num_samples=200), FLOW).reference_evaluations == 200 * 1000 * 2


def test_the_references_take_every_training_timestep() -> None:
    assert (quality_reference(request(), COSINE).sampler, path_reference(request(), COSINE).sampler) == ("ddpm", "ddim")
    assert quality_reference(request(), COSINE).num_inference_steps == COSINE.num_train_timesteps
    assert reference_in_words(quality_reference(request(), COSINE)) == "1,000-step ancestral sampling"


@pytest.mark.parametrize(
    ("changes", "follows"),
    [
        ({}, True),
        ({"sampler": "dpmpp_2m", "num_inference_steps": 50}, True),
        ({"sampler": "euler_ancestral"}, False),
        ({"guidance_scale": 2.0}, False),
        ({"seed": 1}, False),
        ({"weights": "raw"}, False),
        ({"step": 8}, False),
    ],
)
def test_only_solver_and_steps_may_differ_on_the_same_path(changes: dict[str, Any], follows: bool) -> None:
    assert follows_path(replace(BASE, **changes), path_reference(request(), COSINE)) is follows


def test_a_cell_is_named_by_what_tells_it_from_its_neighbours() -> None:
    assert settings_in_words(BASE, request()) == "unipc with 10 steps"
    assert settings_in_words(BASE, request("guidance_scale=1.5", "weights=ema")) == "guidance 1.5 with averaged weights"


def kept(folder: Path, **damage: Any) -> Path:
    (folder / "request.json").write_text(json.dumps({**REQUESTS.as_json(request()), **damage}))
    return folder


def test_a_request_survives_its_json(tmp_path: Path) -> None:
    assert read_request(kept(tmp_path), for_acting=True) == request()


def test_a_request_with_an_unknown_key_is_shown_and_never_acted_on(tmp_path: Path) -> None:
    assert read_request(kept(tmp_path, planted=1)) == request()
    with pytest.raises(UsageError, match=r"newer version of the lab: planted is not known here"):
        read_request(kept(tmp_path, planted=1), for_acting=True)


@pytest.mark.parametrize(
    "damage",
    [
        {"format": 99},
        {"rows": None},
        {"rows": {"setting": "sampler", "values": "unipc"}},
        {"rows": {"setting": "sampler", "values": [["unipc"]]}},
        {"rows": {"setting": ["sampler"], "values": ["unipc"]}},
        {"columns": {"setting": "seed", "values": [10**400]}},
        {"columns": {"setting": "seed", "values": [True]}},
        {"columns": {"setting": "guidance_scale", "values": [float("nan")]}},
        {"columns": {"setting": "num_inference_steps", "values": list(range(1, 999))}},
        {"base": {}},
        {"base": 7},
        {"num_samples": "many"},
        {"run_id": {"$": 1}},
    ],
)
def test_a_hostile_request_is_one_sentence(tmp_path: Path, damage: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"request\.json") as caught:
        read_request(kept(tmp_path, **damage))
    assert len(str(caught.value)) < 500


def test_every_allowed_sampler_fits_at_some_step_count() -> None:
    assert allowed_samplers(FLOW) == FLOW_SAMPLERS
    assert "heun" not in allowed_samplers(COSINE)
    assert len(allowed_samplers(DiffusionSettings(schedule="linear", prediction_type="epsilon"))) == 10


def test_step_counts_that_a_solver_cannot_count_are_refused_cell_by_cell() -> None:
    linear = DiffusionSettings(schedule="linear", prediction_type="epsilon")
    asked = request("sampler=unipc,ddim", "num_inference_steps=50,60,61")
    problems = [cell.problem for cell in cells_of(asked, linear)]
    refused = ["one step too many" in problem or "does not divide" in problem for problem in problems]
    assert refused == [False, False, True, False, True, True]
