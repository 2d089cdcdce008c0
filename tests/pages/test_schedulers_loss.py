"""The view of the loss by timestep, with a real, tiny model and with everything that can be missing or broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import lab.schedulers.timestep_loss as component
import lab.schedulers.timestep_loss_service as service
from core.evaluation.timestep_loss_results import TimestepLoss
from core.runs.run import Run
from core.runs.store import RunStore
from tests.figures import figures_of
from tests.models import Lab, made_once
from tests.pages.conftest import TINY, OpenPage
from tests.pages.run_folders import HOSTILE_NAMES, make_run, tiny_settings, write_checkpoint
from tests.pages.test_every_page import active_markdown

VIEW = {"view": "Loss by timestep"}


def make_pair(root: Path) -> None:
    """A VAE and two U-Nets of a few steps, one for flow, one for v."""
    lab = Lab(root)
    vae = lab.create("vae", tiny_settings(**TINY), name="encoder")
    lab.train(vae)
    cosine = {"diffusion.schedule": "cosine", "diffusion.prediction_type": "v_prediction"}
    lab.train(lab.create("unet", tiny_settings(**TINY, **{"logging.save_every_steps": 2}), vae, name="flow"))
    lab.train(lab.create("unet", tiny_settings(**TINY, **cosine), vae, name="v"))


@pytest.fixture
def runs(session_folder: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> dict[str, Run]:
    shutil.copytree(made_once(session_folder / "trained-pair", make_pair), store.root.parent, dirs_exist_ok=True)
    monkeypatch.setattr(service, "PICTURES", 8)
    monkeypatch.setattr(service, "POINTS", 5)
    return {run.info.name: run for run in store.list() if run.info.kind == "unet"}


def names_in(chart: dict[str, Any]) -> set[str]:
    return {trace.get("name", "") for trace in chart["data"]} - {"band"}


def words_of(app: AppTest) -> str:
    kinds = ("markdown", "caption", "error", "warning")
    return "\n".join(element.value for kind in kinds for element in app.get(kind)).replace("\\", "")


def open_view(open_page: OpenPage, **query: str) -> AppTest:
    app = open_page("schedulers", **VIEW, **query)
    assert not app.exception
    return app


def test_an_empty_lab_leads_to_train(open_page: OpenPage) -> None:
    app = open_view(open_page)
    assert [link.label for link in app.get("page_link")][-1:] == ["Train a model"]
    assert not figures_of(app)


@pytest.mark.slow
def test_one_run_is_measured_kept_and_explained(runs: dict[str, Run], open_page: OpenPage) -> None:
    app = open_view(open_page, run=runs["flow"].id)
    assert not app.error
    (chart,) = figures_of(app)
    assert {"flow (step 4)", "best linear guess", "guessing the average"} <= names_in(chart)
    assert "It knows most at t = " in words_of(app)
    assert len(list((runs["flow"].folder / "timestep_loss").iterdir())) == 1


def test_a_second_run_is_drawn_over_the_first_and_compared(runs: dict[str, Run], open_page: OpenPage) -> None:
    app = open_view(open_page, run=runs["flow"].id, against=runs["v"].id)
    (chart,) = figures_of(app)
    assert {"flow (step 4)", "v (step 4)", "best linear guess, flow", "best linear guess, cosine"} <= names_in(chart)
    assert "has the lower error of the clean latents at" in words_of(app)


def test_the_link_decides_checkpoint_and_weights(runs: dict[str, Run], open_page: OpenPage) -> None:
    link = {"run": runs["flow"].id, "checkpoint": "2", "against": runs["flow"].id, "against-checkpoint": "4-raw"}
    app = open_view(open_page, **link)
    assert {"flow (step 2)", "flow (step 4, raw)"} <= names_in(figures_of(app)[0])
    assert {name: app.query_params[name] for name in link} == link


def test_an_older_checkpoint_is_another_network(runs: dict[str, Run]) -> None:
    found = service.checkpoints_of(runs["flow"])
    assert list(found) == ["4", "2", "4-raw", "2-raw"]
    errors = {service.loss_of(runs["flow"], each, lambda *_: None).target for each in found.values()}
    assert len(errors) == 4


def test_what_is_chosen_is_in_the_link(runs: dict[str, Run], open_page: OpenPage) -> None:
    app = open_view(open_page, run=runs["flow"].id)
    box = next(box for box in app.selectbox if box.label == "Against")
    box.select(runs["v"].id).run()
    assert app.query_params["against"] == runs["v"].id
    assert len([box for box in app.selectbox if box.label == "Checkpoint"]) == 2
    next(box for box in app.selectbox if box.label == "Against").select_index(0).run()
    assert not app.exception
    assert len([box for box in app.selectbox if box.label == "Checkpoint"]) == 1


def test_no_choice_is_lost_however_often_one_chooses(runs: dict[str, Run], open_page: OpenPage) -> None:
    app = open_view(open_page)
    for name in ("flow", "v", "flow", "v"):
        next(box for box in app.selectbox if box.label == "Model").select(runs[name].id).run()
        assert app.query_params["run"] == runs[name].id
        assert f"{name} (step 4)" in names_in(figures_of(app)[0])


def test_another_run_starts_at_its_newest_checkpoint(runs: dict[str, Run], open_page: OpenPage) -> None:
    app = open_view(open_page, run=runs["flow"].id, checkpoint="2")
    next(box for box in app.selectbox if box.label == "Model").select(runs["v"].id).run()
    assert not app.warning
    assert {"v (step 4)"} <= names_in(figures_of(app)[0])


@pytest.mark.parametrize("error_of", component.ERRORS.values())
@pytest.mark.parametrize("axis", component.AXES.values())
@pytest.mark.parametrize("log", ["true", "false"])
def test_every_quantity_is_drawn_over_every_axis(
    runs: dict[str, Run], open_page: OpenPage, error_of: str, axis: str, log: str
) -> None:
    query = {"run": runs["flow"].id, "against": runs["v"].id, "loss-of": error_of, "loss-over": axis, "loss-log": log}
    app = open_view(open_page, **query)
    (chart,) = figures_of(app)
    assert chart["layout"]["xaxis"]["title"]["text"].startswith(axis)
    assert chart["layout"]["yaxis"].get("type", "linear") == ("log" if log == "true" else "linear")
    assert ("compare the error of the clean latents or of the noise instead" in words_of(app)) == (
        error_of == component.ERRORS["target"]
    )


def test_a_measurement_that_is_kept_needs_neither_model_nor_data(
    runs: dict[str, Run], open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = service.checkpoints_of(runs["flow"])["4"]
    service.loss_of(runs["flow"], checkpoint, lambda *_: None)
    service.measurements.clear()
    for path in runs["flow"].checkpoints_dir.glob("*/unet_ema/*.safetensors"):
        path.write_bytes(b"nothing")
    assert len(figures_of(open_view(open_page, run=runs["flow"].id))) == 1


def test_kept_measurements_do_not_fill_the_memory(runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.measurements(), "max_count", 2)
    for checkpoint in service.checkpoints_of(runs["flow"]).values():
        service.loss_of(runs["flow"], checkpoint, lambda *_: None)
    assert len(service.measurements().kept()) == 2


def test_a_run_that_cannot_be_loaded_is_one_sentence_and_the_other_is_drawn(
    runs: dict[str, Run], store: RunStore, open_page: OpenPage
) -> None:
    for path in runs["v"].checkpoints_dir.glob("*/unet_ema/*.safetensors"):
        path.write_bytes(bytes(path.stat().st_size))
    app = open_view(open_page, run=runs["flow"].id, against=runs["v"].id)
    assert len(app.error) == 1
    assert "was altered" in words_of(app)
    assert "flow (step 4)" in names_in(figures_of(app)[0])


@pytest.mark.parametrize("file", ["data.json", "config.yaml", "vae/codec.json"])
def test_a_damaged_file_is_one_sentence(runs: dict[str, Run], open_page: OpenPage, file: str) -> None:
    (runs["flow"].folder / file).write_text("{")
    app = open_view(open_page, run=runs["flow"].id)
    assert len(app.error) == 1
    assert not figures_of(app)


def test_a_data_set_that_is_gone_is_one_sentence(runs: dict[str, Run], open_page: OpenPage) -> None:
    config = runs["flow"].config_path
    config.write_text(config.read_text().replace("name: digits", "name: mnist"))
    app = open_view(open_page, run=runs["flow"].id)
    assert len(app.error) == 1
    assert "'mnist' is not in" in words_of(app)


def test_other_pictures_than_those_of_training_are_one_sentence(runs: dict[str, Run], open_page: OpenPage) -> None:
    facts = json.loads(runs["flow"].data_path.read_text())
    runs["flow"].data_path.write_text(json.dumps({**facts, "fingerprint": "f" * 64}))
    app = open_view(open_page, run=runs["flow"].id)
    assert len(app.error) == 1
    assert "was trained on other images" in words_of(app)


@pytest.mark.parametrize(
    "query",
    [
        {"run": "nobody"},
        {"against": "../../etc/passwd"},
        {"run": "<b>", "against": HOSTILE_NAMES[0]},
        {"checkpoint": "7"},
        {"checkpoint": "-1-raw"},
        {"loss-of": "everything"},
        {"loss-log": "maybe"},
    ],
    ids=str,
)
def test_a_link_to_nothing_still_shows_something(
    runs: dict[str, Run], open_page: OpenPage, query: dict[str, str]
) -> None:
    app = open_view(open_page, **query)
    assert len(figures_of(app)) == 1
    assert len(app.warning) == sum(name in query for name in ("run", "against", "checkpoint"))


def test_hostile_names_are_only_text(store: RunStore, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [make_run(store, name=name) for name in HOSTILE_NAMES[:2]]
    for run in chosen:
        write_checkpoint(run, 100)
    numbers = {name: (0.1, 0.2, 0.4) for name, kind in TimestepLoss.__annotations__.items() if kind.startswith("tuple")}

    def planted(run: Run, checkpoint: service.Checkpoint, show: Any) -> TimestepLoss:
        name = HOSTILE_NAMES[3]
        return TimestepLoss(
            **{**numbers, "t": (0, 500, 999), "log_snr": (5.0, 0.0, -50.0)},
            key="k",
            run_id=run.id,
            weights="ema",
            step=checkpoint.step,
            data_set=name,
            fingerprint="f",
            latents="l",
            schedule=name,
            prediction_type=name,
            num_pictures=8,
            num_train_timesteps=1000,
            variance=1.0,
        )  # type: ignore[arg-type]

    monkeypatch.setattr(component, "loss_of", planted)
    app = open_view(open_page, run=chosen[0].id, against=chosen[1].id)
    assert len(figures_of(app)) == 1
    assert active_markdown(app) == []
    assert "<img" not in json.dumps(figures_of(app))
