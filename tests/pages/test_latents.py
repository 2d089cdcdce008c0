"""The Latents page, with a real, tiny VAE and with everything that can be missing or broken."""

from __future__ import annotations

import json
import shutil
import threading
import time
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

import lab.latents.vae_service as service
from core.errors import LabError
from core.runs.run import Run
from core.runs.store import RunStore
from lab.latents import overview_service as overviews
from lab.latents.channels import AS
from lab.latents.verdict import pictures_of
from tests.figures import figures_of
from tests.pages.conftest import OpenPage, held_up
from tests.pages.run_folders import HOSTILE_NAMES, make_run, write_checkpoint
from tests.pages.test_every_page import active_markdown


@pytest.fixture
def runs(trained: dict[str, Run]) -> dict[str, Run]:
    return trained


def words_of(app: AppTest) -> str:
    kinds = ("markdown", "caption", "error", "warning")
    return "\n".join(element.value for kind in kinds for element in app.get(kind)).replace("\\", "")


def titles_of(app: AppTest) -> list[str]:
    return [figure["layout"]["title"]["text"] for figure in figures_of(app)]


def metrics_of(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def open_view(open_page: OpenPage, **query: str) -> AppTest:
    app = open_page("latents", **query)
    assert not app.exception
    return app


def test_an_empty_lab_leads_to_train(open_page: OpenPage) -> None:
    app = open_view(open_page)
    assert "No VAE yet" in words_of(app)
    assert [link.label for link in app.get("page_link")][-1:] == ["Train a VAE"]


def test_a_vae_is_judged_first_and_shown_in_pictures(runs: dict[str, Run], open_page: OpenPage) -> None:
    app = open_view(open_page, run=runs["encoder"].id)
    assert not app.error
    assert set(metrics_of(app)) == {"Reconstruction (PSNR)", "KL divergence", "Scale"}
    assert metrics_of(app)["Scale"] == "1.00"
    assert "Collapsed" in words_of(app)  # after four steps
    (worst,) = [box for box in app.selectbox if box.label == "Class"]
    worst.select(4).run()
    assert not app.exception


def test_a_new_window_gets_the_words_first_and_chart_and_table_when_it_asks_again(
    runs: dict[str, Run], open_page: OpenPage
) -> None:
    app = open_view(open_page, run=runs["encoder"].id)
    assert metrics_of(app) and titles_of(app) == [] and not app.dataframe
    for _ in range(2):  # by its own clock; from then on they stay
        app.run()
        assert not app.exception
        assert titles_of(app) == ["PSNR of images by class, higher is better"]
        assert app.dataframe[0].value["class"].tolist()[:2] == ["all", "0"]


def test_of_a_large_held_out_set_the_page_says_how_many_it_looked_at(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs["encoder"]
    chosen = chosen_of(run)
    found = overviews.begin_first_look(chosen)
    assert found.wait(600)
    assert pictures_of(found.result) == "179 held-out images"
    monkeypatch.setattr(overviews, "FIRST", 20)
    found = overviews.begin_first_look(chosen)
    assert found.wait(600)
    assert pictures_of(found.result) == "20 of 179 held-out images"


def test_channels_are_shown_raw_and_as_the_u_net_gets_them(runs: dict[str, Run], open_page: OpenPage) -> None:
    tables = {}
    for kind in ("scaled", "raw"):
        app = open_view(open_page, run=runs["encoder"].id, view="Channels", **{"latents-as": AS[kind]})
        assert len(titles_of(app)) == 3
        tables[kind] = app.dataframe[0].value
    assert tables["scaled"]["deviation"].tolist() == [1.0] * 4
    assert tables["scaled"]["mean"].tolist() == [0.0] * 4
    assert tables["raw"]["mean"].tolist() != [0.0] * 4
    scaling = app.dataframe[1].value
    assert {"shift of drawer", "scale of drawer"} <= set(scaling.columns)


def test_a_u_nets_own_copy_is_looked_at_with_its_own_scaling(runs: dict[str, Run], open_page: OpenPage) -> None:
    app = open_view(open_page, run=runs["drawer"].id, view="Channels")
    scaling = app.dataframe[1].value
    codec = json.loads((runs["drawer"].vae_dir / "codec.json").read_text())
    assert scaling["scale in use"].tolist() == pytest.approx(codec["scale"], abs=1e-4)


def test_the_link_decides_checkpoint_and_weights(runs: dict[str, Run], open_page: OpenPage) -> None:
    app = open_view(open_page, run=runs["encoder"].id, checkpoint="2-raw")
    assert app.query_params["checkpoint"] == "2-raw"
    assert not app.warning
    app = open_view(open_page, run=runs["encoder"].id, checkpoint="3")
    assert "Checkpoint 3 is not stored" in words_of(app)


def chosen_of(run: Run) -> service.Chosen:
    return service.choices_of(next(view for view in service.runs_with_a_vae() if view.id == run.id))[0]


def test_what_is_kept_is_shown_without_looking_again(
    runs: dict[str, Run], open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overviews, "FIRST", 20)
    chosen = chosen_of(runs["encoder"])
    work = overviews.rest(chosen)
    assert work.wait(600) and work.problem is None
    monkeypatch.setattr(overviews, "begin_first_look", lambda *_: pytest.fail("looked again"))
    app = open_view(open_page, run=runs["encoder"].id)
    assert len(metrics_of(app)) == 3
    assert not [button for button in app.button if button.label == "Stop"]  # nothing is left to measure


def test_a_few_pictures_answer_first_and_the_rest_is_measured_by_one_process_meanwhile(
    runs: dict[str, Run], open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overviews, "FIRST", 20)
    go_on = held_up(monkeypatch, overviews, "measure")
    chosen = chosen_of(runs["encoder"])
    for _ in range(2):  # touching the page, or another visitor, begins nothing anew
        app = open_view(open_page, run=runs["encoder"].id)
        (bar,) = app.get("progress")
        assert bar.proto.text.startswith("Measured on 20 of 179 images. The rest continues, also when you leave")
        assert len(metrics_of(app)) == 3
    first = metrics_of(app)
    go_on.set()
    assert overviews.rest(chosen).wait(600)
    app = open_view(open_page, run=runs["encoder"].id)
    assert not app.get("progress")
    assert metrics_of(app) != first


@pytest.mark.slow
def test_measuring_all_can_be_stopped_and_begun_again(
    runs: dict[str, Run], open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overviews, "FIRST", 20)
    calls = []

    def measure(_chosen: service.Chosen, limit: int, _tell: Any, cancelled: Any, **__: Any) -> None:
        calls.append(limit)
        while not cancelled():
            time.sleep(0.01)
        raise LabError("it was cancelled")

    monkeypatch.setattr(overviews, "measure", measure)
    app = open_view(open_page, run=runs["encoder"].id)
    next(button for button in app.button if button.label == "Stop").click().run()
    assert overviews.rest(chosen_of(runs["encoder"])).wait(600)
    app.run()
    assert "Measured on 20 of 179 images." in words_of(app)
    assert len(calls) == 1  # stopped is stopped
    next(button for button in app.button if button.label == "Measure all").click().run()
    assert [button.label for button in app.button if button.label == "Stop"]
    overviews.rest(chosen_of(runs["encoder"])).cancel()


def test_a_rest_that_fails_is_one_sentence_and_the_first_look_stays(
    runs: dict[str, Run], open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overviews, "FIRST", 20)
    kept = runs["encoder"].folder.parents[1] / "cache" / "studies"
    shutil.rmtree(kept, ignore_errors=True)
    kept.write_text("where a folder should be")
    open_view(open_page, run=runs["encoder"].id)
    assert overviews.rest(chosen_of(runs["encoder"])).wait(600)
    app = open_view(open_page, run=runs["encoder"].id)
    assert "Measured on 20 of 179 images. The rest could not be measured." in words_of(app)
    assert "what was measured cannot be kept: File exists" in words_of(app)
    assert len(metrics_of(app)) == 3


def test_of_those_who_wait_the_last_goes_first_and_never_two_at_once() -> None:
    line, order, inside = overviews.Line(), [], threading.Event()
    seen = {name: threading.Event() for name in "abc"}

    def work(name: str) -> None:
        with line.turn(name, lambda: seen[name].set() or False):  # who waits is asked whether it was cancelled
            order.append(name)
            seen[name].set()
            inside.wait(600)

    threads = []
    for name in "abc":
        threads.append(threading.Thread(target=work, args=(name,)))
        threads[-1].start()
        assert seen[name].wait(600)
    assert order == ["a"]
    with pytest.raises(LabError, match="cancelled"), line.turn("d", lambda: True):
        pytest.fail("it was not its turn")
    inside.set()
    for thread in threads:
        thread.join()
    assert order == ["a", "c", "b"]


def test_overviews_do_not_fill_the_memory(runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overviews.overviews(), "max_count", 2)
    choices = service.choices_of(next(view for view in service.runs_with_a_vae() if view.run.info.kind == "vae"))
    assert overviews.begin_few(choices).wait(600)
    assert len(overviews.overviews().kept()) == 2


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("encoder", "data.json"),
        ("encoder", "config.yaml"),
        ("encoder", "checkpoints/step-00000004/vae_ema/diffusion_pytorch_model.safetensors"),
        ("drawer", "vae/codec.json"),
    ],
)
def test_a_damaged_file_is_one_sentence(runs: dict[str, Run], open_page: OpenPage, name: str, file: str) -> None:
    path = runs[name].folder / file
    path.write_bytes(b"{".ljust(path.stat().st_size) if path.suffix == ".safetensors" else b"{")
    app = open_view(open_page, run=runs[name].id, checkpoint="4" if name == "encoder" else "")
    assert len(app.error) == 1


def test_a_data_set_that_is_gone_is_one_sentence(runs: dict[str, Run], open_page: OpenPage) -> None:
    config = runs["encoder"].config_path
    config.write_text(config.read_text().replace("name: digits", "name: mnist"))
    app = open_view(open_page, run=runs["encoder"].id)
    assert len(app.error) == 1
    assert "'mnist' is not in" in words_of(app)


def test_a_hostile_link_and_hostile_names_are_plain_text(store: RunStore, open_page: OpenPage) -> None:
    for name in HOSTILE_NAMES:
        run = make_run(store, "vae", name=name, owner=name)
        run.data_path.write_text(json.dumps({"name": name, "class_names": list(HOSTILE_NAMES), "fingerprint": name}))
        write_checkpoint(run, 100)
    link = {"run": HOSTILE_NAMES[0], "checkpoint": HOSTILE_NAMES[5]}
    app = open_view(open_page, **link)
    assert active_markdown(app) == []
    for run in store.list()[:2]:
        assert active_markdown(open_view(open_page, run=run.id)) == []


def test_two_vaes_stand_side_by_side_on_the_same_pictures(runs: dict[str, Run], open_page: OpenPage) -> None:
    run = runs["encoder"]
    app = open_view(open_page, run=run.id, view="Compare", other=run.id, **{"other-checkpoint": "2-raw"})
    assert not app.error and not app.warning
    rows = app.dataframe[0].value
    assert list(rows.columns) == ["figure", "A", "B", "B − A", "better"]
    assert float(rows["B − A"][0]) == pytest.approx(float(rows["B"][0]) - float(rows["A"][0]), abs=0.02)
    assert rows["A"][0] != rows["B"][0]
    assert "The same held-out images through both" in words_of(app)


def test_a_vae_is_compared_with_itself_over_its_training(runs: dict[str, Run], open_page: OpenPage) -> None:
    app = open_view(open_page, run=runs["encoder"].id, view="Compare")
    assert "Choose a second VAE" in words_of(app)
    assert "Drag through the training" in words_of(app)
    (button,) = [button for button in app.button if "checkpoints" in button.label]
    button.click().run()
    assert not app.exception
    assert titles_of(app) == ["Reconstruction", "KL divergence", "Scale per channel"]
    steps = figures_of(app)[0]["data"][0]["x"]
    assert steps == [2, 4]


def test_the_command_line_gives_the_same_verdict(runs: dict[str, Run], capsys: pytest.CaptureFixture[str]) -> None:
    from core.__main__ import main

    assert main(["latents", str(runs["encoder"].folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["word"] == "collapsed" and facts["step"] == 4
    assert facts["kl"] == pytest.approx(sum(row["kl"] for row in facts["channels"]))
    assert main(["latents", str(runs["encoder"].folder), "--step", "3"]) == 1
    assert "no checkpoint of step 3" in capsys.readouterr().err
