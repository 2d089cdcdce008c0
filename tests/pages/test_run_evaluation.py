"""The tab Evaluation of a run's page: what was measured, beside the ceiling of the VAE, and never another's."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from core.evaluation.ceiling_results import WEIGHTS, keep
from core.evaluation.report import write_report
from core.runs.run import Run
from core.runs.store import RunStore
from tests.core.evaluation.test_report import REPORT
from tests.core.evaluation.test_vae_ceiling import CEILING
from tests.pages.conftest import OpenPage
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
