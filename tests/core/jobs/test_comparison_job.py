"""A comparison as a job: how it is asked for, what the worker makes of it, and how its end is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import atomic
from core.comparison import comparison
from core.comparison.comparison_results import list_comparisons, read_comparison
from core.comparison.grid import Axis, ComparisonRequest, cost_of, parse_axis
from core.config.load import settings_from
from core.errors import CheckpointError, LabError, UsageError
from core.jobs import frozen_code, worker
from core.jobs.comparison_job import plan_comparison, start_comparison
from core.jobs.exit_reason import again, ending_of
from core.jobs.job_row import signature_of, work_of
from core.jobs.queue import Queue
from core.jobs.queue_view import queue_view
from core.jobs.service import branch_run, delete_run, request_stop, resume_run, vae_for
from core.jobs.stop_report import stop_stages
from core.machine import attempts
from core.runs.listing import kept_step, last_checkpoint_in_words, run_row
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.measured import Stops, measurable_lab, unserved
from tests.models import Lab

pytestmark = pytest.mark.slow

ROWS = Axis(setting="sampler", values=("unipc", "euler"))
COLUMNS = Axis(setting="num_inference_steps", values=(2, 4))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    options = {"evaluation.num_samples": 20}
    with measurable_lab(tmp_path_factory.mktemp("comparing"), options, steps=8, judge_steps=30) as lab:
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
    run = start_comparison(store, unet, plan_comparison(unet, ROWS, COLUMNS), owner="ana")
    yield run
    Queue(store.root).take_out(run.id)


def test_a_comparison_is_a_run_with_the_unet_as_parent_and_its_request_inside(unet: Run, job: Run) -> None:
    assert (job.info.kind, job.info.parents, job.info.owner) == ("comparison", (unet.id,), "ana")
    assert (job.status().step, job.status().steps_total) == (0, 4)
    assert json.loads((job.folder / "request.json").read_text())["run_id"] == unet.id
    assert job.info.name.startswith("samplers × steps on ")
    assert run_row(job, job.status())["kind"] == "comparison"


def test_what_no_axis_changes_is_as_the_settings_say(unet: Run) -> None:
    values = unet.settings.model_dump(mode="json")
    values["sampling"] |= {"guidance_rescale": 0.7, "guidance_interval": [0.25, 0.8], "whole_timesteps": True}
    axes = parse_axis("sampler=unipc,euler"), parse_axis("num_inference_steps=2,4")
    base = plan_comparison(unet, *axes, settings=settings_from(values)).base
    assert (base.guidance_rescale, base.guidance_interval, base.whole_timesteps) == (0.7, (0.25, 0.8), True)


def test_it_waits_in_the_queue_without_waiting_for_its_unet(store: RunStore, job: Run) -> None:
    entry = next(entry for entry in queue_view(store) if entry.run.id == job.id)
    assert entry.state == "queued"
    waiting = Queue(store.root).job(job.id)
    assert waiting is not None
    assert waiting.depends_on == ()
    assert waiting.num_processes == 1


def test_the_expected_time_follows_from_passes_not_from_cells(store: RunStore, unet: Run, job: Run) -> None:
    request = plan_comparison(unet, ROWS, COLUMNS)
    assert work_of(job) == cost_of(request, unet.settings.diffusion).evaluations
    Queue(store.root).note_speed(signature_of(job), 0.5)
    entry = next(entry for entry in queue_view(store) if entry.run.id == job.id)
    assert entry.expected_end_s is not None
    assert entry.expected_start_s is not None
    assert entry.expected_end_s - entry.expected_start_s == pytest.approx(0.5 * work_of(job))
    assert signature_of(job) != signature_of(unet)


def test_the_worker_draws_every_cell_and_keeps_them_with_the_unet_run(store: RunStore, unet: Run, job: Run) -> None:
    assert worker.work(store, job, Stops(job)) is RunState.FINISHED
    found = read_comparison(unet, job.id)
    assert found.is_done
    assert found.reference is not None
    status = job.status()
    assert (status.state, status.step, status.steps_total, status.reason) == (RunState.FINISHED, 4, 4, "")
    assert status.device.startswith("CPU")
    assert status.elapsed_s > 0
    events = [event["event"] for event in job.events()]
    assert events[-2:] == ["started", "finished"]


def test_results_stay_when_the_job_is_deleted(store: RunStore, unet: Run, job: Run) -> None:
    worker.work(store, job, Stops(job))
    Queue(store.root).take_out(job.id)
    delete_run(store, job.id, by="ana")
    assert job.id in list_comparisons(unet)
    assert read_comparison(unet, job.id).is_done


def test_a_stop_keeps_what_is_finished_and_a_resume_goes_on(
    store: RunStore, unet: Run, job: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, int]] = []
    original = comparison.sample_steps

    def noting(model: Any, part: Any) -> Any:
        drawn.append((part.sampler, part.num_inference_steps))
        yield from original(model, part)

    monkeypatch.setattr(comparison, "sample_steps", noting)
    stops = Stops(job)

    def stop_after_two(*arguments: Any, **options: Any) -> Any:
        for place, result in enumerate(original_compare(*arguments, **options), 1):
            if place == 2:
                stops.left = 0
            yield result

    original_compare = comparison.compare
    monkeypatch.setattr(comparison, "compare", stop_after_two)
    assert worker.work(store, job, stops) is RunState.STOPPED
    status = job.status()
    assert status.step == 2
    assert status.reason == "stopped by bo; 2 of 4 cells are kept"
    assert kept_step(job) == 2
    assert last_checkpoint_in_words(job) == "2 of 4 cells are kept"
    kept = read_comparison(unet, job.id).results
    monkeypatch.setattr(comparison, "compare", original_compare)
    Queue(store.root).take_out(job.id)
    resume_run(store, job.id, by="ana")
    assert worker.work(store, job, Stops(job)) is RunState.FINISHED
    again = read_comparison(unet, job.id)
    assert {index: again.results[index] for index in kept} == kept
    assert job.events()[-2]["event"] == "resumed"
    timed = [each for each in drawn if each != ("euler", 1)]  # the warm-up of each attempt
    assert len(timed) == len(set(timed)) == 5


def test_a_stop_before_the_first_cell_is_told_and_starts_again(store: RunStore, job: Run) -> None:
    assert worker.work(store, job, Stops(job, looks=3)) is RunState.STOPPED
    assert job.status().reason == "stopped by bo; 0 of 4 cells are kept"


def test_a_failure_keeps_finished_cells_and_names_its_kind(
    store: RunStore, unet: Run, job: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = comparison.sample_steps

    def failing(model: Any, part: Any) -> Any:
        if (part.sampler, part.num_inference_steps) == ("unipc", 2):
            raise MemoryError
        yield from original(model, part)

    monkeypatch.setattr(comparison, "sample_steps", failing)
    assert worker.work(store, job, Stops(job)) is RunState.FAILED
    assert "ran out of memory; start it again with sampling.batch_size below 256" in job.status().reason
    assert sorted(read_comparison(unet, job.id).results) == [2, 3]


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 1}'])
def test_a_hostile_request_ends_the_job_with_one_sentence(store: RunStore, job: Run, text: str) -> None:
    (job.folder / "request.json").write_text(text)
    assert worker.work(store, job, Stops(job)) is RunState.FAILED
    assert "request.json" in job.status().reason
    assert "\n" not in job.status().reason
    assert queue_view(store)  # what only looks still works


def test_a_request_about_another_run_than_the_parent_is_refused(store: RunStore, job: Run) -> None:
    other = next(run for run in store.list() if run.info.kind == "vae")
    values = json.loads((job.folder / "request.json").read_text())
    (job.folder / "request.json").write_text(json.dumps({**values, "run_id": other.id}))
    assert worker.work(store, job, Stops(job)) is RunState.FAILED
    assert "names another run than its parent" in job.status().reason


def test_a_death_is_told_with_what_is_kept_and_three_without_progress_give_up(store: RunStore, job: Run) -> None:

    job.write_status(replace(job.status(), state=RunState.RUNNING, step=1))
    atomic.write_json(job.folder / attempts.ATTEMPT_FILE, {"attempt": 1})
    atomic.write_json(job.folder / attempts.EXIT_FILE, {"attempt": 1, "exit_code": -9})
    died = ending_of(job)
    assert died.may_return
    ending, step, fruitless = again(job, died, last_step=-1, fruitless=0)
    assert (ending.state, step, fruitless) == (RunState.QUEUED, 1, 0)
    assert "1 of 4 cells are kept" in ending.reason
    assert again(job, died, last_step=1, fruitless=2)[0].state is RunState.INTERRUPTED


def test_a_requested_stop_has_stages_of_its_own(store: RunStore, job: Run) -> None:
    Queue(store.root).take_out(job.id)
    job.write_status(replace(job.status(), state=RunState.RUNNING))
    attempts.ask_to_stop(job.folder, 0, level=1, by="bo")
    assert [stage.words for stage in stop_stages(job)][:2] == ["asked to stop by bo", "finished cells are kept"]


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
