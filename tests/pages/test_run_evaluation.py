"""The tab Evaluation of a run's page: what was measured, beside the ceiling of the VAE, and never another's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.evaluation.ceiling_results import WEIGHTS, keep
from core.evaluation.report import write_report
from core.jobs.queue import Queue
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.core.evaluation.test_report import REPORT
from tests.core.evaluation.test_vae_ceiling import CEILING
from tests.endings import nobody_serves
from tests.pages.conftest import OpenPage, memory
from tests.pages.run_folders import make_run, write_checkpoint


@pytest.fixture
def vae(store: RunStore) -> Run:
    run = make_run(store, "vae", name="encoder")
    write_checkpoint(run, 500)
    folder = run.checkpoints_dir / "step-00000500"
    (folder / "vae_ema").mkdir()
    (folder / "vae_ema" / WEIGHTS).write_bytes(b"{}")
    manifest = {"files": {f"vae_ema/{WEIGHTS}": {"size": 2, "sha256": CEILING.vae_hash}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return run


@pytest.fixture
def unet(store: RunStore, vae: Run) -> Run:
    run = make_run(store, "unet", name="drawer", parents=(vae.id,))
    run.vae_dir.mkdir()
    facts = {"vae_step": 500, "sha256": CEILING.vae_hash, "shift": [0.0], "scale": [1.0]}
    (run.vae_dir / "codec.json").write_text(json.dumps(facts))
    return run


def words_of(app: AppTest) -> str:
    assert not app.exception and not app.error
    return "\n".join(element.value for kind in ("markdown", "caption") for element in app.get(kind)).replace("\\", "")


def metrics_of(app: AppTest) -> dict[str, str]:
    tables = [frame.value for frame in app.dataframe if list(frame.value.columns) == ["metric", "value", "note"]]
    return dict(zip(tables[0]["metric"], tables[0]["value"], strict=True)) if tables else {}


def test_a_vae_shows_its_own_ceiling_in_words_and_figures(vae: Run, open_page: OpenPage) -> None:
    keep(vae, CEILING)
    app = open_page("runs", run=vae.id, tab="Evaluation")
    assert "VAE ceiling. Through this VAE 99.2% of real images" in words_of(app).replace("**", "")
    assert metrics_of(app)["PSNR"] == "29.00 dB"


def test_without_a_ceiling_the_page_says_so_and_leads_to_where_it_is_measured(vae: Run, open_page: OpenPage) -> None:
    app = open_page("runs", run=vae.id, tab="Evaluation")
    assert "The ceiling of its VAE was not measured." in words_of(app)
    assert "Look inside its latents" in [link.label for link in app.get("page_link")]


def test_an_evaluation_has_the_ceiling_of_its_vae_as_a_row(vae: Run, unet: Run, open_page: OpenPage) -> None:
    keep(vae, CEILING)
    write_report(unet, REPORT)
    assert metrics_of(open_page("runs", run=unet.id, tab="Evaluation"))["VAE ceiling"] == "99.20% / 1.1"


def test_a_unet_that_was_not_evaluated_shows_the_ceiling_alone(vae: Run, unet: Run, open_page: OpenPage) -> None:
    keep(vae, CEILING)
    app = open_page("runs", run=unet.id, tab="Evaluation")
    assert "Not evaluated yet" in words_of(app)
    assert metrics_of(app)["FD-judge"] == "1.1"


@pytest.mark.parametrize("other", [{"vae_hash": "d" * 64}, {"judge_hash": "e" * 64}])
def test_the_ceiling_of_other_weights_or_another_judge_is_not_shown(
    other: dict[str, str], vae: Run, unet: Run, open_page: OpenPage
) -> None:
    keep(vae, replace(CEILING, **other))
    write_report(unet, REPORT)
    app = open_page("runs", run=unet.id, tab="Evaluation")
    assert "VAE ceiling" not in metrics_of(app)
    assert "was not measured with this judge" in words_of(app)


@pytest.fixture
def saved(unet: Run) -> Iterator[Run]:
    """The U-Net run with a checkpoint; nobody serves the queue."""
    write_checkpoint(unet, 100)
    with nobody_serves(RunStore(unet.folder.parent)):
        yield unet


def links_of(app: AppTest) -> dict[str, str]:
    return {link.label: link.proto.page for link in app.get("page_link")}


def press(app: AppTest, key: str) -> AppTest:
    return app.button(key=key).click().run()


def test_evaluate_says_what_it_takes_and_queues_one_however_often_it_is_pressed(
    store: RunStore, saved: Run, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_USER", "bo")  # any member may: it changes nothing of ana's
    saved.write_status(replace(saved.status(), images_per_s=1000.0))
    app = press(open_page("runs", run=saved.id), f"next-evaluate-{saved.id}")
    app = app.number_input(key=f"evaluate-{saved.id}/images").set_value(500).run()
    assert "Takes about **3 s**, estimated from its training speed" in words_of(app)
    assert "judge of this dataset comes on top" in words_of(app)
    assert "Newest checkpoint, now step 100" in words_of(app)
    app = press(app, "evaluate-yes")
    assert app.query_params["tab"] == "Evaluation"
    (made,) = [run for run in store.list() if run.kind.evaluates]
    assert (made.info.parents, made.info.owner, made.settings.evaluation.num_samples) == ((saved.id,), "bo", 500)
    assert Queue(store.root).job(made.id) is not None
    assert "Its evaluation is waiting" in links_of(app)
    assert made.info.name in {label.replace("\\", "") for label in links_of(app)}
    assert not [button for button in app.button if button.label.startswith("Evaluate")]


def test_what_never_fits_is_said_before_the_button(
    saved: Run, open_page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory(tmp_path, monkeypatch, total=10**7, free=10**7)
    app = press(open_page("runs", run=saved.id, tab="Evaluation"), f"tab-evaluate-{saved.id}")
    assert "this machine has 10.0 MB in all" in app.error[0].value.replace("\\", "")
    assert "evaluate-yes" not in {button.key for button in app.button}


def test_a_run_without_a_checkpoint_offers_no_evaluation(unet: Run, open_page: OpenPage) -> None:
    app = open_page("runs", run=unet.id, tab="Evaluation")
    assert "It can be, from its first checkpoint on." in words_of(app)
    assert not [button for button in app.button if button.label.startswith("Evaluate")]


def test_the_page_of_an_evaluation_shows_its_own_report_and_leads_to_the_run(
    store: RunStore, vae: Run, unet: Run, open_page: OpenPage
) -> None:
    keep(vae, CEILING)
    job = make_run(
        store, "evaluation", name="evaluation of drawer", step=1, steps_total=1, logged=0, parents=(unet.id,)
    )
    write_report(unet, replace(REPORT, job_id=job.id, class_accuracy=0.875))
    write_report(unet, REPORT)  # a newer one, of somebody else
    app = open_page("runs", run=job.id)
    assert metrics_of(app)["class accuracy"] == "87.50%"
    assert metrics_of(app)["VAE ceiling"] == "99.20% / 1.1"
    words = words_of(app)
    assert "step 1,400, classes as often as in the training images · unipc, 10 steps, guidance 1.5, seed 0" in words
    assert "right on 99.48% of 10,000 held-out images" in words
    assert "reconstruction" not in words
    assert "Open the run it measured" in links_of(app)
    figures = "".join(element.proto.body for element in app.get("html"))
    assert "87.5 %" in figures
    assert "FD-judge" in figures


def test_an_evaluation_that_works_says_how_far_it_is_on_both_pages(
    store: RunStore, saved: Run, open_page: OpenPage
) -> None:
    job = make_run(
        store, "evaluation", state=RunState.RUNNING, step=0, steps_total=1, logged=0, parents=(saved.id,), name="first"
    )
    job.write_status(replace(job.status(), share=0.34, stage="Generating images, 340 of 1,000"))
    app = open_page("runs", run=saved.id, tab="Evaluation")
    assert "34 % · Generating images, 340 of 1,000" in words_of(app)
    assert "Its evaluation is running" in links_of(app)
    app = open_page("runs", run=job.id)
    assert "The figures appear when it has finished." in words_of(app)
    assert "34 %" in "".join(element.proto.body for element in app.get("html"))
    assert "Open the run it measures" in links_of(app)


def test_an_evaluation_of_a_deleted_run_says_so(store: RunStore, open_page: OpenPage) -> None:
    job = make_run(store, "evaluation", step=1, steps_total=1, logged=0, parents=("20200101-000000-unet-gone",))
    words = words_of(open_page("runs", run=job.id))
    assert "The run it measured was deleted." in words
    assert "It left no report." in words
