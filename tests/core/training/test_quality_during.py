"""Quality measured while a U-Net trains: points on its curves, and not a bit of the training changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.config.schema import Settings
from core.data.arrays import prepare
from core.errors import NonFiniteError
from core.evaluation.evaluate import evaluate
from core.evaluation.report import Report
from core.runs.checkpoints import load_newest
from core.runs.metrics import read_metrics
from core.runs.run import Run, RunState
from core.sampling.load import load_model
from tests import forked
from tests.models import Lab, brief_judges, trained_by

MEASURED = {"evaluation.during": 8, "evaluation.during_samples": 23, "evaluation.judge_epochs": 1}
FEW = {"train_unet.steps": 20, "sampling.num_inference_steps": 2, "machine.mixed_precision": "no"}
TIMED = ("elapsed_s", "images_per_s")


@pytest.fixture(autouse=True)
def judges() -> Iterator[list[int]]:
    with brief_judges(min_steps=5) as asked:
        yield asked


def lines_of(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.metrics_path.read_text().splitlines()]


def without_points(run: Run) -> list[dict[str, Any]]:
    """Its lines without quality and clock; those of quality alone are left out."""
    others = ({k: v for k, v in line.items() if not k.startswith("eval_")} for line in lines_of(run))
    return [{k: v for k, v in line.items() if k not in TIMED} for line in others if len(line) > 1]


def points(run: Run) -> dict[int, list[str]]:
    found = {line["step"]: sorted(key for key in line if key.startswith("eval_")) for line in lines_of(run)}
    return {step: keys for step, keys in found.items() if keys}


def report_on(run: Run, lab: Lab) -> Report:
    """An evaluation of the finished run, of as many images."""
    settings, (data, cache) = run.settings, (lab.folders[name] for name in ("data_dir", "cache_dir"))
    return evaluate(
        load_model(run, device="cpu"),
        prepare(settings.data, data_dir=data, cache_dir=cache, rules=run.rules),
        num_samples=settings.evaluation.during_samples,
        sampling=settings.sampling,
        evaluation=settings.evaluation,
        cache_dir=cache,
        seed=settings.sampling.seed,
    )


def test_points_appear_and_the_training_is_the_same_to_the_bit(
    lab: Lab, finished_vae: Run, tiny: Callable[..., Settings]
) -> None:
    plain, measured = (
        lab.create("unet", tiny(**FEW, **more), finished_vae) for more in ({}, {**MEASURED, "evaluation.during": 7})
    )
    for run in (plain, measured):
        assert lab.train(run).state is RunState.FINISHED  # type: ignore[attr-defined]
    assert without_points(measured) == without_points(plain)
    checkpoints = [load_newest(run.checkpoints_dir) for run in (plain, measured)]
    weights = [found.files["unet_ema/diffusion_pytorch_model.safetensors"] for found in checkpoints if found]
    assert weights[0] == weights[1]
    assert points(plain) == {}
    assert points(measured) == {step: ["eval_class_accuracy", "eval_fd_judge"] for step in (7, 14, 20)}
    report, last = report_on(measured, lab), lines_of(measured)[-1]
    assert last["eval_class_accuracy"] == report.class_accuracy
    assert last["eval_fd_judge"] == pytest.approx(report.fd_judge, rel=1e-6)
    steps = read_metrics(measured.metrics_path)["step"].tolist()
    assert steps == sorted(set(steps)), "a line per step at most"


@pytest.mark.slow
def test_without_a_judge_the_training_goes_on_and_says_why(
    lab: Lab, finished_vae: Run, tiny: Callable[..., Settings]
) -> None:
    def diverges(*_: Any, **__: Any) -> None:
        raise NonFiniteError("the judge's weights became NaN")

    run = lab.create("unet", tiny(**FEW, **MEASURED), finished_vae)
    with trained_by(diverges):
        assert lab.train(run).state is RunState.FINISHED  # type: ignore[attr-defined]
    assert points(run) == {}
    (told,) = [event for event in run.events() if event["event"] == "quality not measured"]
    assert told["reason"] == "the judge's weights became NaN"


@pytest.mark.slow
def test_a_stop_asked_for_while_quality_is_measured_ends_the_training(
    lab: Lab, finished_vae: Run, tiny: Callable[..., Settings]
) -> None:
    run = lab.create("unet", tiny(**FEW, **MEASURED), finished_vae)
    seen: list[int] = []
    looks = [0]

    def asked() -> bool:
        looks[0] += len(seen) == 7  # the first look is that of step 8, the second that of its measurement
        return looks[0] > 1

    outcome = lab.train(run, asked, lambda result: seen.append(result.step))
    assert (outcome.state, outcome.step, points(run)) == (RunState.STOPPED, 9, {})  # type: ignore[attr-defined]
    assert lab.train(run).state is RunState.FINISHED  # type: ignore[attr-defined]
    assert sorted(points(run)) == [16, 20]


TWO = """
import pathlib, sys, os
from core.runs.run import Run
from core.training.ranks import become_ranks
from tests.models import Lab
become_ranks(2)
Lab(pathlib.Path(sys.argv[2])).train(Run(pathlib.Path(sys.argv[1])))
if os.environ["RANK"] == "1":
    os._exit(0)
"""


@pytest.mark.slow
def test_two_ranks_share_the_images_and_find_what_one_finds(
    lab: Lab, finished_vae: Run, tiny: Callable[..., Settings], forks: None
) -> None:
    alone = lab.create("unet", tiny(**FEW, **MEASURED), finished_vae)
    lab.train(alone)  # the judge lies in the cache now
    two = lab.create("unet", tiny(**FEW, **MEASURED, **{"machine.num_processes": 2}), finished_vae)
    done = forked.run("-c", TWO, str(two.folder), str(lab.root))
    assert done.returncode == 0, done.stderr[-2000:]
    assert points(two) == points(alone)
    for step in points(alone):
        one, both = (line["eval_fd_judge"] for run in (alone, two) for line in lines_of(run) if line["step"] == step)
        assert both == pytest.approx(one, rel=2e-2)
