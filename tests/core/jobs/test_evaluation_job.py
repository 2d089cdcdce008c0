"""An evaluation as a job: how it is asked for, what the worker makes of it, and how its end is told."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from core.__main__ import main
from core.config.load import settings_from
from core.errors import CheckpointError, LabError, RunBusy, UsageError
from core.evaluation.report import Report, list_reports
from core.jobs import worker
from core.jobs.engines.local import LocalEngine
from core.jobs.evaluation_job import passes_of, start_at_end, start_evaluation
from core.jobs.job_row import signature_of, work_of
from core.jobs.queue import Queue
from core.jobs.service import delete_run, request_stop, resume_run
from core.runs.listing import last_checkpoint_in_words, run_row
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from core.training.session import Outcome
from tests.measured import Stops, measurable_lab, unserved
from tests.models import Lab


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    options = {"sampling.num_inference_steps": 2, "evaluation.num_samples": 20}
    with measurable_lab(tmp_path_factory.mktemp("evaluating"), options, steps=2, judge_steps=5) as lab:
        yield lab


@pytest.fixture
def store(trained: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunStore]:
    with unserved(trained, monkeypatch) as found:
        yield found


@pytest.fixture
def unet(store: RunStore) -> Run:
    return next(run for run in store.list() if run.info.kind == "unet")


@pytest.fixture
def job(store: RunStore, unet: Run) -> Iterator[Run]:
    run = start_evaluation(store, unet, num_samples=24, owner="ana")
    yield run
    Queue(store.root).take_out(run.id)


def test_an_evaluation_is_a_listed_run_with_the_unet_as_parent(store: RunStore, unet: Run, job: Run) -> None:
    assert (job.info.kind, job.info.parents, job.info.owner) == ("evaluation", (unet.id,), "ana")
    assert job.settings.evaluation.num_samples == 24
    assert job.kind.listed
    assert run_row(job, job.status())["kind"] == "evaluation"
    waiting = Queue(store.root).job(job.id)
    assert waiting is not None
    assert (waiting.depends_on, waiting.num_processes) == ((), 1)
    assert work_of(job) == passes_of(job) == 48
    assert signature_of(job) != signature_of(unet)


def test_a_stopped_one_keeps_no_report_and_a_resume_keeps_it_with_the_unet_run(
    store: RunStore, unet: Run, job: Run
) -> None:
    before = len(list_reports(unet))
    assert worker.work(store, job, Stops(job, looks=4)) is RunState.STOPPED
    assert job.status().reason == "stopped by bo; 0 of 1 evaluations are kept"
    assert len(list_reports(unet)) == before
    Queue(store.root).take_out(job.id)
    resume_run(store, job.id, by="ana")
    assert worker.work(store, job, Stops(job)) is RunState.FINISHED
    report = list_reports(unet)[0]
    assert (len(list_reports(unet)), report.num_samples, report.run_id) == (before + 1, 24, unet.id)
    status = job.status()
    assert (status.state, status.step, status.steps_total, status.stage) == (RunState.FINISHED, 1, 1, "")
    assert status.elapsed_s > 0
    assert last_checkpoint_in_words(job) == "1 of 1 evaluations are kept"
    assert [event["event"] for event in job.events()][-1] == "finished"
    Queue(store.root).take_out(job.id)
    delete_run(store, job.id, by="ana")
    assert list_reports(unet)[0] == report


def figures(report: Report) -> dict[str, object]:
    """What must be equal, however often it was stopped."""
    timed = ("created_at", "elapsed_s", "job_id")
    return {name: value for name, value in asdict(report).items() if name not in timed}


def test_a_stop_in_the_middle_costs_no_image_and_changes_no_figure(trained: Lab, store: RunStore, unet: Run) -> None:
    values = unet.settings.model_dump(mode="json")
    values["evaluation"]["num_samples"], values["sampling"]["batch_size"] = 26, 6
    cut, whole = (start_evaluation(store, unet, settings=settings_from(values)) for _ in range(2))
    drawn = trained.folders["cache_dir"] / "evaluations"
    before = set(drawn.rglob("*.npz"))

    def kept() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in drawn.rglob("*.npz") if path not in before}

    class StopsAfterTwoBatches(Stops):
        def is_asked(self) -> bool:
            self.left = 0 if len(kept()) >= 2 else 10**9
            return super().is_asked()

    assert worker.work(store, cut, StopsAfterTwoBatches(cut)) is RunState.STOPPED
    first = kept()
    assert len(first) == 2
    Queue(store.root).take_out(cut.id)
    resume_run(store, cut.id, by="ana")
    assert worker.work(store, cut, Stops(cut)) is RunState.FINISHED
    assert first.items() < kept().items() and len(kept()) == 5
    resumed, all_parts = list_reports(unet)[0], kept()
    assert worker.work(store, whole, Stops(whole)) is RunState.FINISHED
    assert kept() == all_parts, "the same images are not generated twice"
    again = list_reports(unet)[0]
    shutil.rmtree(drawn)
    anew = start_evaluation(store, unet, settings=settings_from(values))
    assert worker.work(store, anew, Stops(anew)) is RunState.FINISHED
    assert figures(list_reports(unet)[0]) == figures(again) == figures(resumed)
    for job in (whole, anew, cut):
        Queue(store.root).take_out(job.id)


def test_a_failure_is_one_sentence(store: RunStore, job: Run) -> None:
    values = json.loads((job.folder / "run.json").read_text())
    (job.folder / "run.json").write_text(json.dumps({**values, "parents": ["20200101-000000-unet-gone"]}))
    failing = Run(job.folder)
    assert worker.work(store, failing, Stops(failing)) is RunState.FAILED
    assert "does not exist" in failing.status().reason
    assert "\n" not in failing.status().reason


def test_an_active_one_keeps_its_unet_from_being_deleted(store: RunStore, unet: Run, job: Run) -> None:
    with pytest.raises(RunBusy, match="is needed by"):
        delete_run(store, unet.id)
    request_stop(store, job.id)


def test_a_token_makes_one_evaluation_however_often_it_is_pressed(store: RunStore, unet: Run) -> None:
    first = start_evaluation(store, unet, token="press-evaluate")
    assert start_evaluation(store, unet, token="press-evaluate").id == first.id
    request_stop(store, first.id)


def test_only_a_unet_run_with_a_checkpoint_is_evaluated(store: RunStore, unet: Run, job: Run, tmp_path: Path) -> None:
    vae = next(run for run in store.list() if run.info.kind == "vae")
    count = len(store.list())
    for other, words in ((vae, "is a VAE run"), (job, "is a quality evaluation")):
        with pytest.raises(UsageError, match=words):
            start_evaluation(store, other)
    young = RunStore(tmp_path / "runs").create("unet", unet.settings)
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        start_evaluation(store, young)
    with pytest.raises(LabError, match="num_samples"):
        start_evaluation(store, unet, num_samples=0)
    assert len(store.list()) == count


def finished_training(store: RunStore, unet: Run, at_end: str) -> tuple[Run, list[Run]]:
    """A U-Net run whose trainer has nothing to do, and the evaluations that its end has queued."""
    values = unet.settings.model_dump(mode="json")
    values["evaluation"]["at_end"] = at_end
    run = store.create("unet", settings_from(values), name="asks", owner="ana", parents=unet.info.parents)
    shutil.copytree(unet.checkpoints_dir, run.checkpoints_dir)
    done = Outcome(state=RunState.FINISHED, step=2)
    assert worker.work(store, run, Stops(run), {"unet": lambda *_, **__: done}) is RunState.FINISHED
    return run, [other for other in store.list() if other.info.parents == (run.id,)]


@pytest.mark.parametrize(
    ("at_end", "images", "seeds"),
    [("num_samples", 20, [0]), ("quick", 1000, [0]), ("standard", 10_000, [0]), ("release", 50_000, [0, 1, 2])],
)
def test_the_end_of_a_training_queues_the_evaluation_that_its_settings_ask_for(
    store: RunStore, unet: Run, at_end: str, images: int, seeds: list[int]
) -> None:
    run, found = finished_training(store, unet, at_end)
    assert sorted(made.settings.sampling.seed for made in found) == seeds
    for made in found:
        assert (made.info.kind, made.info.owner, made.status().state) == ("evaluation", "ana", RunState.QUEUED)
        assert made.settings.evaluation.num_samples == images
    assert {again.id for again in start_at_end(store, run)} == {made.id for made in found}, "once per run"
    for made in found:
        request_stop(store, made.id)


def test_a_training_that_asks_for_no_evaluation_queues_none(store: RunStore, unet: Run) -> None:
    assert finished_training(store, unet, "none")[1] == []


def test_an_evaluation_that_cannot_be_queued_costs_the_training_nothing(
    store: RunStore, unet: Run, tmp_path: Path
) -> None:
    class Refuses(LocalEngine):
        def submit(self, *_: object, **__: object) -> None:
            raise sqlite3.OperationalError("database is locked")

    run, (made,) = finished_training(store, unet, "num_samples")
    request_stop(store, made.id)
    twin = store.create("unet", run.settings, parents=unet.info.parents)
    shutil.copytree(unet.checkpoints_dir, twin.checkpoints_dir)
    assert start_at_end(store, twin, engine=Refuses(store)) == []
    assert [event["reason"] for event in twin.events() if event["event"] == "evaluation not queued"] == [
        "database is locked"
    ]


def test_the_command_line_queues_one(store: RunStore, unet: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = {run.id for run in store.list()}
    assert main(["evaluate", unet.id, "--samples", "22", "--queue"]) == 0
    (made,) = [run for run in store.list() if run.id not in before]
    assert made.id in capsys.readouterr().out
    assert (made.info.parents, made.settings.evaluation.num_samples) == ((unet.id,), 22)
    request_stop(store, made.id)
