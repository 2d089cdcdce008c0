"""Warnings about poor pairs, and that the table behind them is what the samplers really do now."""

from __future__ import annotations

import json

import pytest

from core.__main__ import main
from core.commands import self_test
from core.config.compatibility import MEASURED_STEPS, SCHEDULES, SOLVER_ERRORS, pair_warning
from core.config.schema import DiffusionSettings
from core.diffusion.gaussian_mixture_test import solver_error
from core.diffusion.sampler_table import FLOW_SAMPLERS, SAMPLERS
from core.diffusion.schedule import build_schedule

ERRORS = json.loads(SOLVER_ERRORS.read_text())["errors"]


def test_the_table_holds_every_sampler_on_every_schedule() -> None:
    assert set(ERRORS) == set(SCHEDULES)
    for schedule, rows in ERRORS.items():
        assert set(rows) == set(FLOW_SAMPLERS if schedule == "flow" else SAMPLERS)
        assert all(len(row) == len(MEASURED_STEPS) for row in rows.values())


@pytest.mark.parametrize(
    ("schedule", "sampler", "steps"),
    [
        ("flow", "unipc", 5),
        ("cosine", "ddim", 10),
        ("linear", "lms", 20),
        ("sigmoid", "deis", 10),
        ("flow", "heun", 10),
    ],
)
def test_the_table_is_what_the_samplers_do_now(schedule: str, sampler: str, steps: int) -> None:
    prediction_type = "flow" if schedule == "flow" else "v_prediction"
    settings = DiffusionSettings.model_validate({"schedule": schedule, "prediction_type": prediction_type})
    found = solver_error(sampler, build_schedule(settings), steps, num_samples=1024).wasserstein
    assert found == pytest.approx(ERRORS[schedule][sampler][MEASURED_STEPS.index(steps)], rel=0.05)


def test_a_poor_pair_is_told_with_its_number_and_a_better_one() -> None:
    found = pair_warning(schedule="cosine", sampler="ddim", num_inference_steps=5)
    assert found is not None
    assert "'ddim' with 5 steps" in found and "0.16" in found and "'unipc' by 0.05" in found


@pytest.mark.parametrize(
    ("schedule", "sampler", "steps"),
    [("cosine", "unipc", 5), ("cosine", "ddim", 50), ("flow", "unipc", 10), ("cosine", "heun", 5), ("none", "ddim", 5)],
)
def test_a_good_pair_or_an_unknown_one_is_not_warned_about(schedule: str, sampler: str, steps: int) -> None:
    assert pair_warning(schedule=schedule, sampler=sampler, num_inference_steps=steps) is None


def test_between_two_measured_steps_the_fewer_count() -> None:
    told = pair_warning(schedule="cosine", sampler="ddim", num_inference_steps=9)
    assert told == pair_warning(schedule="cosine", sampler="ddim", num_inference_steps=5)


@pytest.mark.slow
def test_self_test_prints_a_schedule(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "PATHS", 64)
    monkeypatch.setattr(self_test, "RANDOM_PATHS", 1024)
    assert main(["self-test", "--schedule", "flow", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"flow"} and found["flow"]["euler"][0] > found["flow"]["euler"][-1]
