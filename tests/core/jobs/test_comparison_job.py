"""A comparison as a job: how it is asked for, what the worker makes of it, and how its end is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import atomic
from core.comparison.grid import Axis, ComparisonRequest
from core.config.load import load_config
from core.errors import CheckpointError, LabError, UsageError
from core.jobs import frozen_code
from core.jobs.comparison_job import plan_comparison, start_comparison
from core.jobs.exit_reason import again, ending_of
from core.jobs.queue import Queue
from core.jobs.queue_view import queue_view
from core.jobs.service import branch_run, delete_run, request_stop, vae_for
from core.jobs.stop_report import stop_stages
from core.jobs.worker_stop import StopRequests
from core.machine import attempts
from core.runs.listing import run_row
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.endings import nobody_serves
from tests.models import TINY, Lab, brief_judges

pytestmark = pytest.mark.slow

ROWS = Axis(setting="sampler", values=("unipc", "euler"))
COLUMNS = Axis(setting="num_inference_steps", values=(2, 4))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A tiny U-Net run that takes 12 timesteps; tests add comparisons to it and change nothing else."""
    lab = Lab(tmp_path_factory.mktemp("comparing"))
    options = {
        **TINY,
        "diffusion.num_train_timesteps": 12,
        "train_unet.steps": 8,
        "train_vae.steps": 8,
        "evaluation.num_samples": 20,
        "evaluation.judge_epochs": 1,
    }
    settings = load_config(overrides=options)
    vae = lab.create("vae", settings)
    lab.train(vae)
    unet = lab.create("unet", settings, vae)
    lab.train(unet)
    for run in (vae, unet):
        run.write_status(replace(run.status(), state=RunState.FINISHED))
    with brief_judges(min_steps=30):
        yield lab


@pytest.fixture
def store(trained: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    """Its runs folder; nobody serves the queue."""
    monkeypatch.setenv("LAB_CACHE", str(trained.folders["cache_dir"]))
    monkeypatch.setenv("LAB_DATA", str(trained.folders["data_dir"]))
    monkeypatch.delenv("LAB_RUNS", raising=False)
    with nobody_serves(trained.store):
        yield trained.store


@pytest.fixture
def unet(store: RunStore) -> Run:
    return next(run for run in store.list() if run.info.kind == "unet")


@pytest.fixture
def job(store: RunStore, unet: Run) -> Iterator[Run]:
    run = start_comparison(store, unet, plan_comparison(unet, ROWS, COLUMNS), owner="ana")
    yield run
    Queue(store.root).take_out(run.id)


class Stops(StopRequests):
    """Asks to stop after a number of looks."""

    def __init__(self, run: Run, looks: int = 10**9) -> None:
        super().__init__(run)
        self.left = looks

    def is_asked(self) -> bool:
        self.left -= 1
        if self.left < 0:
            attempts.ask_to_stop(self.run.folder, self.attempt, level=1, by="bo")
            self.look()
        return super().is_asked()


def test_a_comparison_is_a_run_with_the_unet_as_parent_and_its_request_inside(unet: Run, job: Run) -> None:
    assert (job.info.kind, job.info.parents, job.info.owner) == ("comparison", (unet.id,), "ana")
    assert (job.status().step, job.status().steps_total) == (0, 4)
    assert json.loads((job.folder / "request.json").read_text())["run_id"] == unet.id
    assert job.info.name.startswith("samplers × steps on ")
    assert run_row(job, job.status())["kind"] == "comparison"


def test_it_waits_in_the_queue_without_waiting_for_its_unet(store: RunStore, job: Run) -> None:
    entry = next(entry for entry in queue_view(store) if entry.run.id == job.id)
    assert entry.state == "queued"
    atomic.write_json(job.folder / attempts.ATTEMPT_FILE, {"attempt": 1})
    atomic.write_json(job.folder / attempts.EXIT_FILE, {"attempt": 1, "exit_code": -9})
    died = ending_of(job)
    assert died.may_return
    ending, step, fruitless = again(job, died, last_step=-1, fruitless=0)
    assert (ending.state, step, fruitless) == (RunState.QUEUED, 1, 0)
    assert "1 of 4 cells are kept" in ending.reason
    assert again(job, died, last_step=1, fruitless=2)[0].state is RunState.INTERRUPTED


def test_a_requested_stop_has_stages_of_its_own(store: RunStore, job: Run) -> None:
    attempts.ask_to_stop(job.folder, 0, level=1, by="bo")
    assert [stage.words for stage in stop_stages(job)][:2] == ["asked to stop by bo", "finished cells are kept"]
    Queue(store.root).take_out(job.id)


def test_a_waiting_comparison_can_be_taken_out(store: RunStore, job: Run) -> None:
    request_stop(store, job.id, by="bo")
    assert job.status().reason == "stopped by bo before it began"


def test_an_active_comparison_keeps_its_unet_from_being_deleted(store: RunStore, unet: Run, job: Run) -> None:
    with pytest.raises(LabError, match="is needed by"):
        delete_run(store, unet.id)
    request_stop(store, job.id)


def test_a_token_makes_one_comparison_however_often_it_is_pressed(store: RunStore, unet: Run) -> None:
    request = plan_comparison(unet, ROWS, COLUMNS)
    first = start_comparison(store, unet, request, token="press")
    assert start_comparison(store, unet, request, token="press").id == first.id


def test_what_cannot_be_queued_leaves_nothing_behind(
    store: RunStore, unet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(frozen_code, "freeze", full)
    before = {run.id for run in store.list()}
    with pytest.raises(LabError):
        start_comparison(store, unet, plan_comparison(unet, ROWS, COLUMNS))
    assert {run.id for run in store.list()} == before


def _plan(unet: Run, **changes: Any) -> ComparisonRequest:
    return plan_comparison(unet, **{"rows": ROWS, "columns": COLUMNS, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"columns": Axis(setting="step", values=(5,))}, "has no checkpoint of step 5"),
        ({"rows": Axis(setting="sampler", values=("ddim",))}, "every cell of the grid is refused"),
        ({"columns": ROWS}, "both are sampler"),
        ({"num_samples": 3}, "num_samples"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(unet: Run, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        _plan(unet, **changes)


def test_only_unet_runs_with_a_checkpoint_are_compared(store: RunStore, unet: Run, tmp_path: Path) -> None:
    vae = next(run for run in store.list() if run.info.kind == "vae")
    with pytest.raises(UsageError, match="is a VAE run"):
        _plan(vae)
    young = RunStore(tmp_path / "runs").create("unet", unet.settings)
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        _plan(young)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda store, job: branch_run(store, job.id, 1), "is a comparison"),
        (lambda store, job: vae_for(store, job.id), "is a comparison"),
        (lambda store, job: plan_comparison(job, ROWS, COLUMNS), "is a comparison"),
        (lambda store, job: job.train_settings, "trains nothing"),
    ],
)
def test_what_makes_no_sense_for_a_comparison_is_one_sentence(
    store: RunStore, job: Run, act: Callable[[RunStore, Run], Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        act(store, job)
