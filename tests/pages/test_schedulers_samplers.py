"""The Samplers view: choosing, starting, following, reading and removing comparisons; with planted results."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.comparison.comparison_results import (
    CellResult,
    Difference,
    Facts,
    cell_name,
    list_comparisons,
    read_comparison,
    results_folder,
)
from core.comparison.grid import Axis, CellSettings, ComparisonRequest, cells_of
from core.jobs.queue import Queue
from core.machine.processes import own_identity
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from lab.frame.state import WHO_KEY
from lab.schedulers import comparison_service
from tests.endings import nobody_serves
from tests.figures import figures_of
from tests.pages.conftest import OpenPage, memory
from tests.pages.run_folders import HOSTILE_NAMES, make_run, write_checkpoint
from tests.pages.test_every_page import active_markdown

VIEW = "Samplers"


@pytest.fixture(autouse=True)
def unserved(store: RunStore) -> Iterator[None]:
    """No supervisor is started: the queue only fills."""
    with nobody_serves(store):
        yield


@pytest.fixture
def unet(store: RunStore) -> Run:
    run = make_run(store, "unet", name="drawer")
    write_checkpoint(run, 100)
    return run


def request_for(unet: Run, **changes: Any) -> ComparisonRequest:
    values: dict[str, Any] = {
        "run_id": unet.id,
        "rows": Axis(setting="sampler", values=("unipc", "deis")),
        "columns": Axis(setting="num_inference_steps", values=(5, 10)),
        "base": CellSettings(
            sampler="unipc", num_inference_steps=5, guidance_scale=1.5, seed=0, weights="ema", step=100
        ),
        "num_samples": 100,
        **changes,
    }
    return ComparisonRequest(**values)


def plant(
    store: RunStore, unet: Run, *, cells: int = 3, state: RunState = RunState.FINISHED, owner: str = "ana"
) -> Run:
    """A job and its results: unipc in 5 and 10 steps, deis refused, the last cell missing unless cells is 4."""
    request = request_for(unet)
    job = store.create(
        "comparison",
        unet.settings,
        name="samplers × steps on drawer",
        owner=owner,
        parents=(unet.id,),
        steps_total=4,
        more_files={"request.json": b"{}"},
    )
    process = own_identity() if state.is_active else None
    job.write_status(replace(job.status(), state=state, step=cells, stage="unipc, 10 steps", process=process))
    files = results_folder(unet, job.id)
    files.open(request)
    files.write_facts(
        Facts(
            judge_hash="ab" * 32,
            judge_accuracy=0.99,
            fd_reference_count=500,
            fd_floor=0.1,
            fd_floor_count=100,
            device="CPU",
            data_set="digits",
            fingerprint="0" * 64,
            class_names=tuple("0123456789"),
        )
    )
    places = cells_of(request, unet.settings.diffusion)
    figures: dict[str, Any] = {
        "num_pictures": 100,
        "class_accuracy": 0.95,
        "class_accuracy_low": 0.9,
        "fd_low": 0.2,
        "class_accuracy_high": 0.98,
        "fd_high": 0.4,
        "recall": 0.7,
        "seconds": 2.0,
    }
    same = Difference(value=0.01, low=-0.05, high=0.07)
    results = [
        CellResult(index=0, settings=places[0].settings, fd_judge=0.9, evaluations=10.0, verdict="worse", **figures),
        CellResult(
            index=1,
            settings=places[1].settings,
            fd_judge=0.3,
            evaluations=20.0,
            fd_difference=same,
            agreement=0.97,
            psnr_db=31.4,
            agreement_count=100,
            verdict="as good",
            **figures,
        ),
        CellResult(index=2, settings=places[2].settings, problem=places[2].problem),
        CellResult(index=3, settings=places[3].settings, problem=places[3].problem),
    ]
    pictures = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 1), dtype=np.uint8)
    arrays = {"pictures": pictures, "features": np.zeros((100, 128), np.float16), "guesses": np.zeros(100, np.int16)}
    for result in results[:cells]:
        files.write(cell_name(result.index), result, arrays)
    reference = replace(
        results[0],
        index=-1,
        fd_judge=0.29,
        evaluations=2000.0,
        verdict="",
        settings=replace(request.base, sampler="euler", num_inference_steps=1000),
    )
    files.write("reference", reference, arrays)
    return Run(job.folder)


def html_of(app: AppTest) -> str:
    return "\n".join(element.proto.body for element in app.get("html"))


def words_of(app: AppTest) -> str:
    kinds = ("markdown", "caption", "error", "warning")
    return "\n".join(element.value for kind in kinds for element in app.get(kind)).replace("\\", "")


def open_view(open_page: OpenPage, **query: str) -> AppTest:
    app = open_page("schedulers", view=VIEW, **query)
    assert not app.exception
    return app


def test_an_empty_lab_leads_to_train(open_page: OpenPage) -> None:
    app = open_view(open_page)
    assert [link.label for link in app.get("page_link")][-1:] == ["Train a model"]


def test_a_model_without_comparisons_shows_the_form_and_its_cost(unet: Run, open_page: OpenPage) -> None:
    app = open_view(open_page, run=unet.id)
    assert not app.error
    text = words_of(app)
    assert "15 cells (1 refused" not in text
    assert "15 cells · " in text and "for the reference" not in text
    assert "the time is known after the first comparison" in text
    app.checkbox(key="comparison-reference").check().run()
    assert "of them for the reference" in words_of(app)


@pytest.mark.parametrize(("images_per_s", "hint"), [(3000.0, False), (1.0, True)])
def test_the_training_speed_predicts_the_first_comparison(
    unet: Run, open_page: OpenPage, images_per_s: float, hint: bool
) -> None:
    unet.write_status(replace(unet.status(), images_per_s=images_per_s))
    text = words_of(open_view(open_page, run=unet.id))
    assert "estimated from the training speed" in text
    assert ("To finish sooner" in text) == hint


def test_starting_queues_a_comparison_and_the_link_names_it(unet: Run, store: RunStore, open_page: OpenPage) -> None:
    app = open_view(open_page, run=unet.id)
    app.text_input(key="comparison-columns-num_inference_steps").input("5,10").run()
    app.number_input(key="comparison-samples-" + unet.id).set_value(100).run()
    app.button(key="start-comparison").click().run()
    assert not app.exception
    (job,) = [run for run in store.list() if run.info.kind == "comparison"]
    assert app.query_params["comparison"] in (job.id, [job.id])
    values = json.loads((job.folder / "request.json").read_text())
    assert values["columns"] == {"setting": "num_inference_steps", "values": [5, 10]}
    assert values["num_samples"] == 100
    assert job.status().state is RunState.QUEUED


@pytest.mark.parametrize(
    ("values", "sentence"), [("50-5", "runs backwards"), ("", "no values"), ("![x](y)", "is not a number")]
)
def test_values_that_cannot_be_are_one_sentence_and_no_button(
    unet: Run, open_page: OpenPage, values: str, sentence: str
) -> None:
    app = open_view(open_page, run=unet.id)
    app.text_input(key="comparison-columns-num_inference_steps").input(values).run()
    assert not app.exception
    assert sentence in app.error[0].value.replace("\\", "")
    assert active_markdown(app) == []
    assert not [button for button in app.button if button.key == "start-comparison"]


def test_a_comparison_that_never_fits_is_said_before_the_button(
    unet: Run, open_page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory(tmp_path, monkeypatch, total=10**7, free=10**7)
    app = open_view(open_page, run=unet.id)
    assert "this machine has 10.0 MB in all" in app.error[0].value.replace("\\", "")
    assert not [button for button in app.button if button.key == "start-comparison"]


def test_the_result_is_a_finding_a_chart_and_a_matrix(unet: Run, store: RunStore, open_page: OpenPage) -> None:
    job = plant(store, unet, cells=4)
    app = open_view(open_page, run=unet.id, comparison=job.id)
    assert not app.error
    assert (
        "unipc with 10 steps (20 network evaluations per image) is as good as 1,000-step Euler sampling: "
        "FD-judge 0.3 against 0.29"
    ) in words_of(app).replace("\u2060", "")
    assert len(figures_of(app)) == 1
    table = html_of(app)
    assert table.count("data:image/png;base64,") == 3  # two cells and the reference
    assert "FD 0.3" in table
    assert "20 evaluations" in table
    assert "same class 97%" in table
    assert "≈ as good as the reference" in table
    assert table.count("on flow matching is never better") == 1  # the whole row, for one reason
    assert app.get("download_button")
    (link,) = [element.proto for element in app.get("page_link") if element.proto.label.startswith("Generate with")]
    query = f"view=Create&run={unet.id}&checkpoint=100&weights=ema&sampler=unipc&steps=10&guidance=1.5"
    query += "&rescale=0&interval=0&interval=1&seed=0"
    assert (link.label, link.query_string) == ("Generate with unipc with 10 steps", query)


def test_cells_that_are_missing_say_so_while_it_runs(unet: Run, store: RunStore, open_page: OpenPage) -> None:
    job = plant(store, unet, cells=1, state=RunState.RUNNING)
    app = open_view(open_page, run=unet.id, comparison=job.id)
    assert "not generated yet" in html_of(app)
    assert "cell 1 of 4" in words_of(app)
    assert "Cancel" in [button.label for button in app.button]


def test_a_stopped_comparison_can_go_on(unet: Run, store: RunStore, open_page: OpenPage) -> None:
    job = plant(store, unet, cells=1, state=RunState.STOPPED)
    queue = Queue(store.root)
    with queue.transaction():  # as on a box in use, where queueing makes no new file in the runs folder
        app = open_view(open_page, run=unet.id, comparison=job.id)
    labels = [button.label for button in app.button]
    assert "Resume" in labels
    assert "Cancel" not in labels
    app.session_state[WHO_KEY] = "ana"
    next(button for button in app.button if button.label == "Resume").click()
    app.run()
    assert job.status().state is RunState.QUEUED
    labels = [button.label for button in app.button]
    assert "Cancel" in labels and "Resume" not in labels  # at once: a page that shows 'stopped' would never look again


def test_quality_and_cost_of_the_chart_are_in_the_link(unet: Run, store: RunStore, open_page: OpenPage) -> None:
    job = plant(store, unet)
    query = {"run": unet.id, "comparison": job.id, "quality": "Class accuracy", "cost": "Seconds"}
    app = open_view(open_page, **query)
    figure = figures_of(app)[0]
    assert figure["layout"]["yaxis"]["title"]["text"] == "class accuracy"
    assert figure["layout"]["xaxis"]["title"]["text"] == "seconds for 100 images"


def test_the_speed_of_a_comparison_predicts_the_next(unet: Run, store: RunStore, open_page: OpenPage) -> None:
    plant(store, unet)
    seconds = comparison_service.seconds_per_evaluation(unet)
    assert seconds == pytest.approx((2.0 + 2.0 + 2.0) / (100 * (10 + 20 + 2000)))
    assert "at the speed of the last comparison" in words_of(open_view(open_page, run=unet.id))


def test_deleting_asks_and_removes_results_and_job(
    unet: Run, store: RunStore, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_USER", "ana")
    job = plant(store, unet)
    app = open_view(open_page, run=unet.id, comparison=job.id)
    app.button(key="delete-comparison").click().run()
    assert not app.exception
    assert list_comparisons(unet) == []
    assert not (store.root / job.id).exists()


def test_deleting_what_belongs_to_another_asks_by_name(unet: Run, store: RunStore, open_page: OpenPage) -> None:
    job = plant(store, unet, owner="bo")
    app = open_view(open_page, run=unet.id, comparison=job.id)
    app.button(key="delete-comparison").click().run()
    assert list_comparisons(unet) == [job.id]
    assert "belongs to" in words_of(app)


def test_results_whose_job_was_deleted_are_shown(unet: Run, store: RunStore, open_page: OpenPage) -> None:
    job = plant(store, unet)
    store.delete(job.id, by="ana")
    app = open_view(open_page, run=unet.id)
    assert not app.error
    assert "FD 0.3" in html_of(app)


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 1, "rows": "![pixel](http://198.51.100.7/p.png)"}'])
def test_a_damaged_request_is_one_sentence_and_the_form_stays(
    unet: Run, store: RunStore, open_page: OpenPage, text: str
) -> None:
    job = plant(store, unet)
    (results_folder(unet, job.id).folder / "request.json").write_text(text)
    app = open_view(open_page, run=unet.id, comparison=job.id)
    assert "request.json" in (words_of(app))
    assert active_markdown(app) == []
    assert app.button(key="start-comparison")


def test_damaged_pictures_leave_the_figures(unet: Run, store: RunStore, open_page: OpenPage) -> None:
    job = plant(store, unet)
    for path in (results_folder(unet, job.id).folder / "cells").glob("*.npz"):
        path.write_bytes(b"PK\x03\x04 torn")
    app = open_view(open_page, run=unet.id, comparison=job.id)
    assert "FD 0.3" in html_of(app)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_and_links_that_people_typed_are_text(store: RunStore, unet: Run, open_page: OpenPage, name: str) -> None:
    job = plant(store, unet, owner=name)
    values = json.loads((job.folder / "run.json").read_text())
    (job.folder / "run.json").write_text(json.dumps({**values, "name": name}))
    app = open_view(open_page, run=unet.id, comparison=name)
    assert active_markdown(app) == []
    assert "onerror=alert" not in html_of(app)


def test_the_csv_has_a_line_a_cell_and_the_reference(unet: Run, store: RunStore) -> None:
    job = plant(store, unet)
    rows = list(csv.DictReader(io.StringIO(comparison_service.as_csv(read_comparison(unet, job.id)).decode())))
    assert [row["role"] for row in rows] == ["cell", "cell", "cell", "reference"]
    assert [row["on_pareto_front"] for row in rows] == ["True", "True", "False", "False"]
    assert rows[1]["verdict"] == "as good"
    assert float(rows[1]["fd_difference_low"]) == -0.05
    assert "on flow matching is never better" in rows[2]["refused_because"]


def test_trainings_lists_leave_comparisons_out_and_the_overview_shows_live_ones(
    unet: Run, store: RunStore, open_page: OpenPage
) -> None:
    from lab.services.runs import list_views

    job = plant(store, unet, cells=1, state=RunState.RUNNING)
    assert [view.id for view in list_views()] == [unet.id]
    assert [view.id for view in list_views(comparisons=True)] == [job.id, unet.id]
    app = open_page("overview")
    assert not app.exception
    assert "cell 1 of 4" in words_of(app)


def test_the_page_of_a_comparisons_job_is_the_samplers_view(unet: Run, store: RunStore, open_page: OpenPage) -> None:
    job = plant(store, unet)
    app = open_page("runs", run=job.id)
    assert not app.exception
    assert [title.value for title in app.title] == ["Schedulers"]


def test_every_choice_of_a_model_sticks_and_takes_its_own_comparisons_along(
    store: RunStore, unet: Run, open_page: OpenPage
) -> None:
    other = make_run(store, "unet", name="other")
    write_checkpoint(other, 100)
    job = plant(store, unet)
    app = open_view(open_page, run=unet.id, comparison=job.id)
    for chosen in (other, unet, other, unet):
        app.selectbox(key="pick-run").set_value(chosen.id).run()
        assert not app.exception
        assert app.selectbox(key="pick-run").value == app.query_params["run"] == chosen.id
        assert ("comparison" in app.query_params) == (chosen is unet)
