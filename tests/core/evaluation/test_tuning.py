"""Sampling settings that are found: who stays in the race, what the winner is stated on, and the search as a job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.__main__ import main
from core.comparison.grid import CellSettings
from core.comparison.tuning import (
    FOUND_ON,
    GO_ON,
    MOST_LOST,
    SLACK,
    STATED_ON,
    TUNINGS,
    Tried,
    as_settings,
    candidates_of,
    going_on,
    in_words,
    list_tunings,
    passes_of,
    rows_of,
    sizes_of,
)
from core.config.schema import SamplingSettings
from core.errors import LabError, UsageError
from core.jobs import worker
from core.jobs.queue import Queue
from core.jobs.tuning_job import passes_of_run, start_tuning
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.measured import Stops, measurable_lab, unserved
from tests.models import Lab

OWN = SamplingSettings(guidance_scale=1.5)
CELL = CellSettings(sampler="unipc", num_inference_steps=10, guidance_scale=1.5, seed=0, weights="ema", step=9)


def tried(scale: float, fd: float, *, recall: float = 0.7, accuracy: float = 0.99, stage: int = 0) -> Tried:
    settings = replace(CELL, guidance_scale=scale)
    return Tried(settings=settings, stage=stage, count=500, fd_judge=fd, class_accuracy=accuracy, recall=recall)


def test_candidates_begin_with_the_runs_own_and_none_is_there_twice() -> None:
    found = candidates_of(OWN)
    assert found[0] == OWN and len(found) == 25
    assert len({each.model_dump_json() for each in found}) == len(found)
    unguided = [each for each in found if each.guidance_scale == 1.0]
    assert len(unguided) == 1, "an interval of no guidance changes nothing"
    foreign = candidates_of(OWN.model_copy(update={"guidance_scale": 4.0}))
    assert len(foreign) == 26 and foreign[0].guidance_scale == 4.0


def test_the_race_is_won_by_distance_among_those_that_lose_nothing() -> None:
    own = tried(1.5, 0.10)
    others = [
        tried(1.0, 0.04, accuracy=0.99 - 1.1 * MOST_LOST[0]),
        tried(3.0, 0.05, recall=0.7 - 1.1 * SLACK[0]),
        tried(2.0, 0.06, recall=0.7 - 0.9 * SLACK[0]),
        tried(1.75, 0.08),
    ]
    assert [each.settings.guidance_scale for each in going_on([own, *others], own, 2)] == [2.0, 1.75]
    assert going_on([own, *others], own, 10)[-1] == own
    later = replace(own, stage=2)
    assert going_on([later, tried(2.0, 0.06, recall=0.675, stage=2)], later, 1) == [later], "more images, less slack"


def test_what_it_takes_is_counted_before_it_begins() -> None:
    sizes = sizes_of(1000)
    assert (sizes.stages, sizes.stated, sizes.part) == ((500, 1000, 2000), 5000, 250)
    images = 25 * 500 + (GO_ON[0] + 1) * 500 + (GO_ON[1] + 1) * 1000 + 2 * 5000
    assert passes_of(OWN, sizes) == images * 2 * OWN.num_inference_steps
    assert sizes_of(10).stages[0] % sizes_of(10).part == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    options = {"sampling.num_inference_steps": 2}
    with measurable_lab(tmp_path_factory.mktemp("tuning"), options, steps=2, judge_steps=5) as lab:
        yield lab


@pytest.fixture
def store(trained: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    with unserved(trained, monkeypatch) as found:
        yield found


@pytest.fixture
def unet(store: RunStore) -> Run:
    return next(run for run in store.list() if run.info.kind == "unet")


@pytest.mark.slow
def test_a_search_is_stopped_resumed_and_states_the_winner_on_another_seed(
    store: RunStore, unet: Run, trained: Lab
) -> None:
    job = start_tuning(store, unet, images=20, owner="ana")
    Queue(store.root).take_out(job.id)
    assert (job.info.kind, job.info.parents, job.info.owner) == ("tuning", (unet.id,), "ana")
    assert passes_of_run(job) == passes_of(unet.settings.sampling, sizes_of(20))
    assert worker.work(store, job, Stops(job, looks=40)) is RunState.STOPPED
    assert list_tunings(unet) == ([], [])
    kept = {path.name for path in (Path(trained.folders["cache_dir"]) / "evaluations").iterdir()}
    assert kept, "what was generated is not generated again"
    job.write_status(replace(job.status(), state=RunState.QUEUED))
    (job.folder / "stop.json").unlink()
    assert worker.work(store, job, Stops(job)) is RunState.FINISHED
    ((found,), _) = list_tunings(unet)
    seed = unet.settings.sampling.seed
    assert {each.settings.seed for each in found.tried} == {seed + FOUND_ON}
    assert {found.own.settings.seed, found.found.settings.seed} == {seed + STATED_ON}
    assert found.own.count == found.found.count == sizes_of(20).stated
    last = [each for each in found.tried if each.stage == 2]
    assert len([each for each in found.tried if each.stage == 0]) == len(candidates_of(unet.settings.sampling))
    assert len(last) <= GO_ON[1] + 1
    chosen = going_on(last, last[0], 1)[0]
    assert replace(chosen.settings, seed=0) == replace(found.found.settings, seed=0)
    assert found.fd_difference.low <= found.fd_difference.value <= found.fd_difference.high
    assert found.fd_difference.value == pytest.approx(found.found.fd_judge - found.own.fd_judge)


@pytest.mark.slow
def test_the_command_names_how_to_use_what_was_found(
    store: RunStore, unet: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    ((found, *_), _) = list_tunings(unet)
    settings = replace(found.found.settings, guidance_scale=2.5, guidance_interval=(0.2, 0.8))
    new = replace(found, found=replace(found.found, settings=settings))
    assert as_settings(new) == ["sampling.guidance_scale=2.5", "sampling.guidance_interval=[0.2,0.8]"]
    assert main(["config", "show", *(word for each in as_settings(new) for word in ("--set", each))]) == 0
    assert "2.5" in capsys.readouterr().out
    assert in_words(replace(new, verdict="cannot tell")).endswith("chose nothing: cannot tell which is better.")
    assert [row[0] for row in rows_of(new)][:3] == ["guidance scale", "guidance interval, t / T", "FD-judge"]
    assert "is better than the run's own" in in_words(replace(found, found=found.own))
    assert main(["tune", unet.id, "--samples", "20", "--detach", "--json"]) == 0
    job = store.get(json.loads(capsys.readouterr().out)["id"])
    Queue(store.root).take_out(job.id)
    assert (job.info.kind, job.settings.evaluation.num_samples) == ("tuning", 20)


@pytest.mark.slow
def test_a_vae_run_and_a_damaged_result_cost_one_sentence(store: RunStore, unet: Run) -> None:
    vae = next(run for run in store.list() if run.info.kind == "vae")
    with pytest.raises(UsageError, match="generates no images"):
        start_tuning(store, vae)
    path = unet.folder / "tunings" / "damaged.json"
    path.write_text("{")
    found, problems = list_tunings(unet)
    path.unlink()
    assert found and len(problems) == 1 and "damaged.json" in problems[0]
    with pytest.raises(LabError, match="newer version"):
        TUNINGS.parse(json.dumps({"format": 99}).encode(), "x.json")
