"""The Evaluate page: the score card, what is wrong in words, the images behind it, and every state before that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.comparison.comparison_results import Difference
from core.comparison.grid import CellSettings
from core.comparison.tuning import TUNINGS, Tried, Tuning, tuning_path
from core.evaluation.ceiling_results import keep
from core.evaluation.drawn import Drawn, DrawnFolder
from core.evaluation.labels import LABELS_RULE
from core.evaluation.report import ClassScore, Report, write_report
from core.jobs.queue import Queue
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from lab.evaluate import evaluate_service
from lab.services.settings import current_site
from tests.core.evaluation.test_corruptions import fault, found
from tests.core.evaluation.test_report import REPORT
from tests.core.evaluation.test_vae_ceiling import CEILING
from tests.endings import nobody_serves
from tests.pages.conftest import OpenPage
from tests.pages.run_folders import make_run, write_checkpoint
from tests.pages.test_run_evaluation import links_of, unet, vae, words_of  # noqa: F401 - fixtures

KEY = "ab" * 16


@pytest.fixture
def saved(unet: Run) -> Iterator[Run]:  # noqa: F811
    """A U-Net run with a checkpoint; nobody serves the queue."""
    write_checkpoint(unet, 100)
    with nobody_serves(RunStore(unet.folder.parent)):
        yield unet


def html_of(app: AppTest) -> str:
    return "\n".join(element.proto.body for element in app.get("html"))


def two_classes(**changes: object) -> Report:
    """40 images, of which 3 of class 'ant' are read as 'bee'."""
    scores = tuple(
        ClassScore(name=name, count=20, correct=right, accuracy=right / 20, low=0.5, high=1.0)
        for name, right in (("ant", 17), ("bee", 20))
    )
    drawn = {"num_samples": 40, "drawn_key": KEY, "labels_rule": LABELS_RULE}
    return replace(REPORT, per_class=scores, **{**drawn, **changes})  # type: ignore[arg-type]


def keep_images() -> None:
    labels = np.repeat([0, 1], 20)
    guesses = labels.copy()
    guesses[:3] = 1
    DrawnFolder(current_site().cache, KEY).keep(
        0,
        Drawn(
            pictures=np.zeros((40, 8, 8, 1), np.uint8),
            labels=labels,
            guesses=guesses,
            features=np.zeros((40, 4), np.float32),
            seconds=1.0,
        ),
    )


def test_an_empty_lab_leads_to_training(open_page: OpenPage) -> None:
    app = open_page("evaluate")
    assert "No trained U-Net yet." in words_of(app)
    assert "Train a model" in links_of(app)


def test_a_run_that_was_never_evaluated_shows_the_form_and_queues_one(
    store: RunStore, saved: Run, open_page: OpenPage
) -> None:
    app = open_page("evaluate", run=saved.id)
    assert "Not evaluated yet." in words_of(app)
    app = app.number_input(key=f"evaluate-{saved.id}/images").set_value(500).run()
    app = app.button(key="evaluate-yes").click().run()
    (made,) = [run for run in store.list() if run.kind.evaluates]
    assert (made.info.parents, made.settings.evaluation.num_samples) == ((saved.id,), 500)
    assert Queue(store.root).job(made.id) is not None
    assert not [button for button in app.button if button.key == "evaluate-yes"], "one at a time"


def test_one_that_works_shows_its_progress_and_one_that_failed_its_reason(
    store: RunStore, saved: Run, open_page: OpenPage
) -> None:
    facts = {"step": 0, "steps_total": 1, "logged": 0, "parents": (saved.id,)}
    failed = make_run(store, "evaluation", state=RunState.FAILED, name="first", **facts)
    failed.write_status(replace(failed.status(), reason="the judge diverged"))
    assert "The last evaluation did not finish: the judge diverged" in words_of(open_page("evaluate", run=saved.id))
    job = make_run(store, "evaluation", state=RunState.RUNNING, name="second", **facts)
    job.write_status(replace(job.status(), share=0.34, stage="Generating images, 340 of 1,000"))
    assert "34 % · Generating images, 340 of 1,000" in words_of(open_page("evaluate", run=saved.id))


def test_the_score_card_stands_between_real_images_and_the_vae(vae: Run, saved: Run, open_page: OpenPage) -> None:  # noqa: F811
    keep(vae, CEILING)
    write_report(saved, two_classes())
    keep_images()
    app = open_page("evaluate", run=saved.id)
    words, html = words_of(app), html_of(app)
    assert "15.0 % of the images asked for as ant are read as bee: 3 of 20." in words
    assert html.count('<tr><th scope="row">') >= 5
    assert "99.20 %" in html, "what its VAE alone reaches"
    assert 'style="--share:1.00" title="3 images">150</td>' in html
    assert "3 of 3, in the order in which they were generated." in words
    assert "measured the old way" not in words


def test_of_several_ceilings_the_one_of_these_labels_and_images_stands_beside(
    vae: Run,  # noqa: F811
    saved: Run,
    open_page: OpenPage,
) -> None:
    keep(vae, CEILING)
    fitting = {"num_pictures": 40, "num_asked": 40, "labels": "balanced", "class_accuracy": 0.971}
    keep(vae, replace(CEILING, key="f" * 16, **fitting))  # type: ignore[arg-type]
    write_report(saved, two_classes(labels="balanced"))
    html = html_of(open_page("evaluate", run=saved.id))
    assert "97.10 %" in html and "99.20 %" not in html


def test_a_link_names_the_cell_of_the_confusion(saved: Run, open_page: OpenPage) -> None:
    write_report(saved, two_classes())
    keep_images()
    assert "20 of 20, in the order" in words_of(open_page("evaluate", run=saved.id, cell="1-1"))


def test_the_test_of_the_measures_is_shown_where_it_was_made(
    saved: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(saved, two_classes())
    assert "Puts known faults into real images" in words_of(open_page("evaluate", run=saved.id))
    made = found(fault("Real images", False, is_none=True), fault("Blur <b>", True))
    monkeypatch.setattr(evaluate_service, "kept_measure_test", lambda run: made)
    app = open_page("evaluate", run=saved.id)
    assert "Every fault is seen by at least one measure; untouched images pass" in words_of(app)
    assert "● sees it" in html_of(app) and "Blur &lt;b&gt;" in html_of(app)


def test_a_comparison_of_guidance_and_steps_is_started_once(store: RunStore, saved: Run, open_page: OpenPage) -> None:
    write_report(saved, two_classes())
    app = open_page("evaluate", run=saved.id)
    assert "No comparison of guidance on this run yet" in words_of(app)
    app = app.button(key="trade-off-start").click().run()
    (made,) = [run for run in store.list() if run.info.kind == "comparison"]
    assert made.info.parents == (saved.id,)
    assert "trade-off-start" not in {button.key for button in app.button}


def test_an_old_report_says_so_and_one_without_images_leads_to_a_new_one(saved: Run, open_page: OpenPage) -> None:
    write_report(saved, two_classes(labels_rule=1, drawn_key=""))
    words = words_of(open_page("evaluate", run=saved.id)) + "".join(
        element.value for element in open_page("evaluate", run=saved.id).warning
    )
    assert "Measured the old way" in words
    assert "was not recorded with this evaluation" in words
    assert "Its images were not kept" in words


def test_a_search_is_begun_once(store: RunStore, saved: Run, open_page: OpenPage) -> None:
    write_report(saved, two_classes())
    app = open_page("evaluate", run=saved.id)
    assert "Searches the guidance scale" in words_of(app)
    app = app.button(key="search-start").click().run()
    (job,) = [run for run in store.list() if run.info.kind == "tuning"]
    assert (job.info.parents, Queue(store.root).job(job.id) is not None) == ((saved.id,), True)
    assert not [button for button in app.button if button.key == "search-start"], "one at a time"


def test_what_a_search_found_leads_to_generate(store: RunStore, saved: Run, open_page: OpenPage) -> None:
    write_report(saved, two_classes())
    facts = {"step": 1, "steps_total": 1, "logged": 0, "parents": (saved.id,)}
    job = make_run(store, "tuning", state=RunState.FINISHED, name="a search", **facts)
    TUNINGS.write(tuning_path(saved, job.id), a_search(saved))
    app = open_page("evaluate", run=saved.id)
    assert (
        "FD-judge 40 % lower (95 % interval -0.05 to -0.03), class accuracy 0.00 points higher, on 5,000"
        in words_of(app)
    )
    assert '<th scope="row">guidance scale</th><td>1.5</td><td>2</td>' in html_of(app)
    assert "Generate with these" in links_of(app)
    assert [button.label for button in app.button if button.key == "search-start"] == ["Search again"]
    assert "See what it found: Evaluate" in links_of(open_page("runs", run=job.id))


def a_search(run: Run) -> Tuning:
    own, found = (
        Tried(
            settings=CellSettings(
                sampler="unipc", num_inference_steps=10, guidance_scale=scale, seed=1001, weights="ema", step=100
            ),
            stage=3,
            count=5000,
            fd_judge=fd,
            class_accuracy=0.99,
            recall=0.7,
        )
        for scale, fd in ((1.5, 0.1), (2.0, 0.06))
    )
    return Tuning(
        created_at="2026-12-01T00:00:00+00:00",
        job_id="j",
        run_id=run.id,
        step=100,
        data_set="digits",
        fingerprint="f" * 12,
        judge_hash="a" * 64,
        tried=(own, found),
        own=own,
        found=found,
        fd_difference=Difference(value=-0.04, low=-0.05, high=-0.03),
        accuracy_difference=Difference(value=0.0, low=-0.01, high=0.01),
        verdict="better",
        fd_floor=0.014,
        evaluations=(20, 20),
    )
