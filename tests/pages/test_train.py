"""The Train screen: what is chosen is what is started, and what cannot work is refused beside the form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.config.load import get_value
from core.config.schema import field_rows
from core.config.site import SiteSettings
from core.errors import DataUnavailable
from core.jobs import queue_view, service
from core.jobs.queue_entry import NextPlace, QueueEntry
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from lab.services import run_actions
from lab.train import training_service
from lab.widgets.config_form import HIDDEN
from tests.pages.conftest import OpenPage, memory
from tests.pages.run_folders import make_run

KEYS = [name for name, _ in field_rows() if not name.startswith(HIDDEN)]


def costs_of(app: AppTest) -> dict[str, list[str]]:
    """The table of what a training costs, by column."""
    (text,) = [element.value for element in app.markdown if element.value.startswith("| network")]
    heads, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return {head: list(column) for head, *column in zip(heads, *rows, strict=True)}


def start_button(app: AppTest) -> Any:
    return app.button(key="start")


def live_entry(expected_end_s: float | None) -> QueueEntry:
    run = Run(Path("20260101-000000-vae-live"))
    return QueueEntry(
        run=run,
        state="running",
        place=0,
        priority=0,
        owner="ana",
        device="CPU",
        slots=(),
        waits_for="",
        expected_start_s=0.0,
        expected_end_s=expected_end_s,
        started_at="",
    )


def labelled(app: AppTest, kind: str, label: str) -> Any:
    return next(widget for widget in app.get(kind) if widget.label.startswith(label))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, store: RunStore) -> list[dict[str, Any]]:
    """Launches that were asked for; nothing is launched."""
    calls: list[dict[str, Any]] = []

    def _start(kind: str, settings: Any, **facts: Any) -> list[Any]:
        calls.append({"kind": kind, "settings": settings, **facts})
        return [make_run(store, "vae")]

    monkeypatch.setattr(service, "start_training", _start)
    return calls


def test_every_setting_has_a_widget(open_page: OpenPage) -> None:
    app = open_page("train")
    kinds = ("selectbox", "number_input", "text_input", "toggle")
    drawn = {str(widget.key).rsplit("/", 1)[-1] for kind in kinds for widget in app.get(kind)}
    assert [name for name in KEYS if name not in drawn] == ["data.name"], "which the cards choose"


def test_the_preset_is_started_as_it_is(open_page: OpenPage, started: list[dict[str, Any]]) -> None:
    start_button(open_page("train")).click().run()
    (call,) = started
    assert call["kind"] == "all"
    assert call["preset"] == "quick"
    assert call["settings"] == training_service.settings_for("quick", {})
    assert call["token"]


@pytest.mark.parametrize(
    ("waiting", "ends", "words"),
    [
        (0, [600.0], "No room now: it is next, so it starts in about 10 min."),
        (1, [600.0, 1500.0], "No room now: 1 run waits before it, so it starts in about 25 min."),
        (1, [600.0, None], "No room now: 1 run waits before it."),
    ],
)
def test_a_busy_machine_queues_and_says_when_it_starts(
    waiting: int, ends: list[float | None], words: str, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_view, "place_for_next", lambda *asked: NextPlace(at_once=False, waiting=waiting))
    entries = [live_entry(end) for end in ends]
    monkeypatch.setattr(run_actions, "queue", lambda: entries)
    app = open_page("train")
    assert app.button(key="start").label == "Queue"
    assert words in [caption.value for caption in app.caption]
    overview = "".join(caption.value for caption in open_page("overview").caption).replace("\\", "")
    assert words in overview  # an empty lab says the same of its button


def test_what_belongs_to_the_site_is_not_in_the_form() -> None:
    assert not any(name.rsplit(".", 1)[-1] in SiteSettings.model_fields for name in KEYS if name.startswith("machine"))
    assert "machine.auto_resume" in KEYS


def test_changed_settings_and_the_name_reach_the_run(open_page: OpenPage, started: list[dict[str, Any]]) -> None:
    app = open_page("train", data="digits")
    app.get_by_key("quick/frequent/train_vae.steps").set_value(40)
    app.get_by_key("quick/train_unet.learning_rate").set_value("5e-4")
    app.get_by_key("quick/vae.block_out_channels").set_value("8, 16")
    app.get_by_key("name").set_value("My *run*")
    app.run()
    assert labelled(app, "number_input", ":blue[VAE steps ●]").value == 40
    start_button(app).click().run()
    (call,) = started
    expected = {"data.name": "digits", "train_vae.steps": 40, "train_unet.learning_rate": 5e-4}
    assert {name: get_value(call["settings"], name) for name in expected} == expected
    assert call["settings"].vae.block_out_channels == (8, 16)
    assert call["name"] == "My *run*"


def test_when_and_how_it_may_run_reaches_the_request_and_no_setting(
    open_page: OpenPage, started: list[dict[str, Any]]
) -> None:
    app = open_page("train")
    app.text_input(key="time-limit").set_value("90m")
    app.text_input(key="start-at").set_value("+2h")
    app.selectbox(key="preemptible").set_value("yes").run()
    app.selectbox(key="at-limit").set_value("is queued again").run()
    assert any("time limit 1 h 30 min, then queued again" in each.value for each in app.caption)
    start_button(app).click().run()
    asked = started[0]["request"]
    assert (asked["time_limit_s"], asked["requeue"], asked["preemptible"]) == (5400.0, True, True)
    assert asked["start_at"].endswith("+00:00")


def test_a_time_limit_that_is_not_one_is_refused_in_a_sentence(open_page: OpenPage) -> None:
    app = open_page("train")
    app.text_input(key="time-limit").set_value("soon").run()
    assert "is not a duration" in app.error[0].value
    assert start_button(app).disabled


def test_all_gpus_share_a_training_where_somebody_wants_it(
    open_page: OpenPage, started: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "all-gpus" not in [toggle.key for toggle in open_page("train").toggle]
    gpu = {"name": "NVIDIA H200", "memory_total": 150_000_000_000, "memory_used": 0, "utilization": 0}
    gpus = [{**gpu, "uuid": f"GPU-{index}", "processes": []} for index in range(2)]
    (tmp_path / "gpus.json").write_text(json.dumps({"gpus": gpus}))
    monkeypatch.setenv("LAB_NVML_RECORDING", str(tmp_path / "gpus.json"))
    app = open_page("train")
    app.toggle(key="all-gpus").set_value(True).run()
    start_button(app).click().run()
    assert started[0]["settings"].machine.num_processes == 2


def test_the_difference_to_the_preset_is_listed(open_page: OpenPage) -> None:
    app = open_page("train")
    app.get_by_key("quick/frequent/train_vae.steps").set_value(40).run()
    assert app.dataframe[0].value.to_dict("records") == [
        {"setting": "train_vae.steps", "quick": "500", "this form": "40"}
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("quick/train_unet.learning_rate", "fast"),
        ("quick/train_unet.learning_rate", "-1"),
        ("quick/train_unet.learning_rate", "[1, 2"),
        ("quick/vae.block_out_channels", "8, 16, &x"),
        ("quick/vae.block_out_channels", "eight"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_a_sentence(
    key: str, value: str, open_page: OpenPage, started: list[dict[str, Any]]
) -> None:
    app = open_page("train")
    app.get_by_key(key).set_value(value).run()
    assert not app.exception
    assert len(app.error) == 1
    assert key.rsplit("/", 1)[-1].split(".")[0] in app.error[0].value.replace("\\", "")
    assert start_button(app).disabled
    assert app.get_by_key("quick/machine.device") is not None, "the rest of the form stays"


def test_an_impossible_pair_is_refused(open_page: OpenPage) -> None:
    app = open_page("train")
    app.get_by_key("quick/diffusion.schedule").select("linear").run()
    assert len(app.error) == 1
    assert start_button(app).disabled


def test_a_missing_data_set_is_told_and_nothing_is_opened(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    def _missing(*args: Any, **facts: Any) -> list[Any]:
        raise DataUnavailable("mnist is not here", "digits is")

    monkeypatch.setattr(service, "start_training", _missing)
    app = start_button(open_page("train")).click().run()
    assert [error.value for error in app.error] == ["Mnist is not here; digits is"]
    assert store.list() == []


def test_another_preset_brings_its_own_values(open_page: OpenPage) -> None:
    app = open_page("train", preset="reference")
    assert app.get_by_key("reference/frequent/train_unet.steps").value == 56280
    assert not app.error


def test_a_unet_needs_a_finished_vae(open_page: OpenPage) -> None:
    app = open_page("train", what="U-Net only")
    assert "No finished VAE yet" in app.info[0].value
    assert "start" not in [button.key for button in app.button]


def test_a_unet_takes_data_and_vae_of_its_parent(
    store: RunStore, open_page: OpenPage, started: list[dict[str, Any]]
) -> None:
    vae = make_run(store, "vae", name="![x](y)")
    app = open_page("train", what="U-Net only")
    start_button(app).click().run()
    (call,) = started
    assert (call["kind"], call["vae_run"]) == ("unet", vae.id)
    assert call["settings"].data == vae.settings.data
    assert call["settings"].data.name == "digits"


def test_the_cost_is_measured_on_demand_and_kept(open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def _measure(settings: Any, part: str) -> training_service.Cost:
        calls.append(part)
        planned = training_service.Cost.planned(settings, part)
        return training_service.replace(planned, images_per_s=800.0, seconds=40.0, device="CPU")

    monkeypatch.setattr(training_service, "measure", _measure)
    app = open_page("train")
    assert list(costs_of(app)) == ["network", "steps", "images seen", "parameters", "memory"]
    next(button for button in app.button if button.label.startswith("Measure")).click().run()
    assert costs_of(app)["time here"] == ["40 s", "40 s"]
    assert costs_of(app)["parameters"] == ["0.16 M", "0.64 M"]
    app.run()
    assert calls == ["vae", "unet"]


def test_networks_that_never_fit_are_refused_beside_the_button(
    open_page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory(tmp_path, monkeypatch, total=16 * 10**9, free=16 * 10**9)
    app = open_page("train")
    assert all(words.endswith("MB, fits") for words in costs_of(app)["memory"])
    app.get_by_key("quick/unet.block_out_channels").set_value("2048, 2048").run()
    vae, unet = costs_of(app)["memory"]
    assert (vae.endswith("MB, fits"), unet.endswith("GB, does not fit")) == (True, True)
    assert start_button(app).disabled
    assert [button for button in app.button if button.label.startswith("Measure")] == []
    assert "GB in all; lower" in app.error[0].value


def test_what_does_not_fit_now_is_queued_and_told_why(
    open_page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory(tmp_path, monkeypatch, total=16 * 10**9, free=10**8)
    app = open_page("train")
    assert all(words.endswith("waits until memory is free") for words in costs_of(app)["memory"])
    assert start_button(app).label == "Queue" and not start_button(app).disabled
    (words,) = [caption.value for caption in app.caption if "until there is room" in caption.value]
    assert words.endswith("and 100.0 MB are free; no run's end makes so much room, so runs behind it may start first.")


def test_changed_settings_are_in_the_link_and_a_reload_shows_the_same_form(open_page: OpenPage) -> None:
    app = open_page("train", data="digits", preset="standard")
    app.get_by_key("standard/frequent/train_vae.steps").set_value(40)
    app.get_by_key("standard/vae.block_out_channels").set_value("8, 16")
    app.get_by_key("standard/data.fit").select("pad")
    app.get_by_key("standard/data.download").set_value(False).run()
    link = app.query_params["set"]
    assert link == ["train_vae.steps=40", "data.fit=pad", "data.download=false", "vae.block_out_channels=[8, 16]"]
    again = open_page("train", data="digits", preset="standard", set=link)
    assert again.dataframe[0].value.to_dict("records") == app.dataframe[0].value.to_dict("records")
    assert again.query_params["set"] == link
    assert not again.warning


def test_the_form_is_kept_when_one_leaves_and_comes_back(open_page: OpenPage) -> None:
    app = open_page("train", data="digits", preset="standard", set="train_vae.steps=40", what="VAE only")
    for page in ("machine", "train"):
        for name in list(app.query_params):
            del app.query_params[name]
        app.switch_page(f"../pages/{page}.py").run()
    assert not app.exception
    assert [row["this form"] for row in app.dataframe[0].value.to_dict("records")] == ["digits", "40"]
    assert app.get_by_key("what").value == "VAE only"


def test_going_back_to_an_address_without_settings_takes_them_back(open_page: OpenPage) -> None:
    app = open_page("train", data="digits", preset="standard", set="train_vae.steps=40")
    for name in ("set", "preset", "data"):
        del app.query_params[name]
    app.run()
    assert not app.dataframe
    assert "set" not in app.query_params and "preset" not in app.query_params


@pytest.mark.parametrize("text", ["nothing", "no.such=1", "sampling.seed=3", "train_vae.steps=[1", "![x](y)=1"])
def test_a_setting_of_a_link_that_does_not_exist_is_one_sentence(text: str, open_page: OpenPage) -> None:
    app = open_page("train", set=text)
    assert not app.exception
    assert len(app.warning) == 1 and "was ignored" in app.warning[0].value
    assert not app.dataframe


@pytest.mark.parametrize("text", ["train_vae.steps=many", "train_vae.steps=-3", "data.fit=squeeze", "data.download=7"])
def test_a_value_that_a_widget_cannot_hold_is_left_to_the_default(text: str, open_page: OpenPage) -> None:
    app = open_page("train", set=text)
    assert not app.exception and not app.error and not app.dataframe


@pytest.mark.parametrize("name", ["a run", "![x](y)"])
def test_a_run_is_repeated_with_its_settings(
    name: str, store: RunStore, open_page: OpenPage, started: list[dict[str, Any]]
) -> None:
    run = make_run(store, "vae", name=name)
    app = open_page("train", like=run.id)
    assert not app.exception and not app.error
    assert app.get_by_key("what").value == "VAE only"
    assert not app.dataframe, "nothing differs from the run"
    start_button(app).click().run()
    (call,) = started
    assert call["settings"] == run.settings


def test_the_settings_of_a_repeated_run_can_be_dropped(store: RunStore, open_page: OpenPage) -> None:
    app = open_page("train", like=make_run(store, "vae").id)
    app.button(key="forget-run").click().run()
    assert not app.exception
    assert "like" not in app.query_params and "set" not in app.query_params


def test_a_run_that_is_gone_leaves_the_form_and_a_sentence(open_page: OpenPage) -> None:
    app = open_page("train", like="20260101-000000-vae-none")
    assert not app.exception
    assert "starts from the preset" in app.warning[0].value
    assert not start_button(app).disabled


def test_disk_is_predicted_from_the_parameters(trained: dict[str, Run]) -> None:
    run = trained["encoder"]
    found = sum(path.stat().st_size for path in (run.folder / "checkpoints").rglob("*") if path.is_file())
    planned = training_service.disk_bytes(run.settings, training_service.weigh(run.settings, "vae"))
    assert planned == pytest.approx(found, rel=0.5)


def test_what_a_training_took_here_stands_on_the_card(trained: dict[str, Run]) -> None:
    settings = trained["drawer"].settings
    assert training_service.measured_before(settings, "all") is None, "neither has finished"
    for run in trained.values():
        run.write_status(replace(run.status(), state=RunState.FINISHED))
    run_actions.look_again()
    seconds, accuracy = training_service.measured_before(settings, "all") or (0.0, None)
    assert seconds == pytest.approx(sum(run.status().elapsed_s for run in trained.values()))
    assert accuracy is None
    other = training_service.settings_for("quick", {"data.name": "digits"})
    assert training_service.measured_before(other, "all") is None
