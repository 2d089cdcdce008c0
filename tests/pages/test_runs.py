"""The Runs screen: the list, and what can be done with one run."""

from __future__ import annotations

import json
import urllib.parse
from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.errors import RunBusy
from core.evaluation.labels import LABELS_RULE
from core.evaluation.report import write_report
from core.jobs import queue_view, service, stop_report
from core.jobs.queue_entry import QueueEntry
from core.jobs.stop_report import StopStage
from core.runs.metrics import MetricsWriter
from core.runs.notes import Notes, change_notes, read_notes
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from lab.frame.state import WHO_KEY
from lab.runs.bulk_actions import TICKED, as_csv
from lab.runs.run_columns import Reader, figure_of
from lab.runs.run_order import Filter
from lab.runs.runs_table import PAGE_ROWS
from lab.services.runs import view_of
from tests.core.evaluation.test_report import REPORT
from tests.pages.conftest import OpenPage, table
from tests.pages.run_folders import age, ended_badly, make_run, running, tiny_settings, write_checkpoint


def names(app: AppTest) -> list[str]:
    return ["↳ " * row.get("child", False) + row["title"] for row in table(app).get("rows", [])]


def column(app: AppTest, name: str) -> list[str]:
    found = table(app)
    place = [title for _, title, _, _ in found["columns"]].index(name)
    return [row["cells"][place].get("text", "") for row in found["rows"]]


def labels(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was asked of the service: (function, run id, by). The browser's person is the owner of the runs."""
    monkeypatch.setenv("LAB_USER", "ana")
    calls: list[tuple[Any, ...]] = []
    for name in ("request_stop", "force_stop", "pause_run", "resume_run", "delete_run", "restore_run"):
        monkeypatch.setattr(service, name, lambda store, run_id, by="", _name=name: calls.append((_name, run_id, by)))
    return calls


def test_the_list_is_newest_first_with_states_in_words(store: RunStore, open_page: OpenPage) -> None:
    running(store)
    app = open_page("runs", columns="progress", group="false")
    assert names(app) == ["Next", "Live", "First light (VAE)"]
    assert column(app, "state") == ["queued", "running", "finished"]
    assert column(app, "progress") == ["0 %", "40 %", "100 %"]


def test_a_run_of_a_newer_lab_is_shown_with_what_one_cannot_do(store: RunStore, open_page: OpenPage) -> None:
    run = make_run(store)
    values = json.loads((run.folder / "run.json").read_text())
    values["versions"]["format"] = "99"
    values["parents"] = {"vae": "of another shape"}
    (run.folder / "run.json").write_text(json.dumps(values))
    app = open_page("runs", run=run.id)
    assert not app.exception
    (warning,) = app.warning
    assert warning.value.startswith("Made by a newer version of the lab")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("all", ["Next", "First light (VAE)", "↳ Live"]),
        ("active", ["Next", "Live"]),
        ("finished", ["First light (VAE)"]),
    ],
)
def test_the_filter_in_the_link_is_applied(
    shown: str, expected: list[str], store: RunStore, open_page: OpenPage
) -> None:
    running(store)
    assert names(open_page("runs", show=shown)) == expected


def test_ended_early_means_failed_stopped_or_interrupted(store: RunStore, open_page: OpenPage) -> None:
    ended_badly(store)
    make_run(store, name="fine")
    assert sorted(column(open_page("runs", show="ended early"), "state")) == ["failed", "interrupted", "stopped"]


@pytest.mark.parametrize(("text", "found"), [("LIVE", 1), ("ana", 3), ("digits", 3), ("nothing like it", 0)])
def test_the_search_looks_at_name_owner_and_data(text: str, found: int, store: RunStore, open_page: OpenPage) -> None:
    running(store)
    app = open_page("runs", search=text)
    assert len(names(app)) == found


def test_broken_folders_are_named_below_the_list(store: RunStore, open_page: OpenPage) -> None:
    make_run(store)
    (store.root / "odd").mkdir()
    app = open_page("runs")
    assert app.expander[0].label == "1 folder here cannot be read as a run"
    assert app.text[0].value == "odd: no run.json"


def entry(run: Run, state: str, **facts: Any) -> QueueEntry:
    known = {
        "place": 2,
        "priority": 0,
        "owner": "ana",
        "device": "auto",
        "slots": (),
        "waits_for": "",
        "expected_start_s": None,
        "expected_end_s": None,
        "started_at": "",
    }
    return QueueEntry(run=run, state=state, **{**known, **facts})


def words_of(app: AppTest) -> str:
    texts = [element.value for element in (*app.markdown, *app.caption, *app.error, *app.warning, *app.text)]
    texts += [element.proto.body for element in app.get("html")]
    return "\n".join(texts).replace("\\", "")


def links(app: AppTest) -> list[str]:
    return [link.proto.label for link in app.get("page_link")]


def test_a_running_run_shows_how_far_it_is_and_its_owner_stops_it_at_once(
    store: RunStore, open_page: OpenPage, asked: list[tuple[Any, ...]]
) -> None:
    live = running(store)[1]
    app = open_page("runs", run=live.id)
    assert "40 %" in words_of(app)
    assert "step 40 of 100 · 2 min left, until about" in words_of(app)
    assert "1,234 images/s" in words_of(app)
    assert "Resume" not in labels(app)
    assert next(button for button in app.button if button.label == "Kill").disabled
    press(app, "Stop")
    assert asked == [("request_stop", live.id, "ana")]


@pytest.mark.parametrize(("button", "call"), [("Stop", "request_stop"), ("Pause", "pause_run")])
def test_another_persons_run_is_touched_only_after_a_yes(
    button: str, call: str, store: RunStore, open_page: OpenPage, asked: list[tuple[Any, ...]]
) -> None:
    live = running(store)[1]
    app = open_page("runs", run=live.id)
    app.session_state[WHO_KEY] = "Bea"
    press(app, button)
    assert asked == []
    assert "belongs to **ana**" in words_of(app)
    app.button(key="confirm-yes").click().run()
    assert asked == [(call, live.id, "Bea")]


def test_a_run_that_is_stopping_shows_what_was_seen_and_can_be_killed(
    store: RunStore, open_page: OpenPage, asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = make_run(store, state=RunState.STOPPING, step=40)
    seen = [
        StopStage(words="asked to stop by ana", done=True),
        StopStage(words="saving a checkpoint", done=False),
        StopStage(words="process gone", done=False),
    ]
    monkeypatch.setattr(stop_report, "stop_stages", lambda run: seen)
    app = open_page("runs", run=live.id)
    line = next(element.value for element in app.markdown if "asked to stop by ana" in element.value)
    assert [part.split(":")[-2].removeprefix("material/") for part in line.split("&nbsp;")] == [
        "material/check",
        "material/hourglass_bottom",
        "gray[:material/circle",
    ] or line.count(":material/check:") == 1
    assert line.index("hourglass") < line.index("saving")
    assert next(button for button in app.button if button.label == "Stop").disabled
    press(app, "Kill")
    assert asked == []
    assert "Everything since its last checkpoint is lost." in words_of(app)
    app.button(key="confirm-yes").click().run()
    assert [call[:2] for call in asked] == [("force_stop", live.id)]


def test_a_queued_run_says_its_turn_and_what_it_waits_for(
    store: RunStore, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(store, state=RunState.QUEUED, step=0, logged=0)
    turn = entry(run, "queued", waits_for="a free GPU of 2", expected_start_s=600.0)
    monkeypatch.setattr(queue_view, "queue_view", lambda store: [turn])
    app = open_page("runs", run=run.id)
    assert "Place 2 in the queue · waits for a free GPU of 2 · starts in about 10 min" in words_of(app)
    assert "Hold" in labels(app)


def test_a_paused_run_says_so_and_goes_on(
    store: RunStore, open_page: OpenPage, asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(store, state=RunState.STOPPED, step=40, reason="paused by ana at step 40")
    monkeypatch.setattr(queue_view, "queue_view", lambda store: [entry(run, "paused")])
    app = open_page("runs", run=run.id)
    assert "paused]" in app.markdown[-1].value or "paused" in words_of(app)
    assert "It keeps its place" in words_of(app)
    press(app, "Resume")
    assert [call[:2] for call in asked] == [("resume_run", run.id)]
    assert column(open_page("runs"), "state") == ["paused"]
    assert names(open_page("runs", show="active")) == [view_of(run.id).title]


@pytest.mark.parametrize("place", range(3))
def test_a_run_that_ended_early_says_why_and_can_be_resumed(
    place: int, store: RunStore, open_page: OpenPage, asked: list[tuple[Any, ...]]
) -> None:
    run = ended_badly(store)[place]
    app = open_page("runs", run=run.id)
    assert run.status().reason[1:20] in words_of(app)
    assert "Traceback" not in words_of(app)
    press(app, "Resume")
    assert [call[:2] for call in asked] == [("resume_run", run.id)]


def test_a_finished_run_is_not_resumed_but_draws(store: RunStore, open_page: OpenPage) -> None:
    run = make_run(store)
    write_checkpoint(run, 100)
    assert "Resume" not in labels(open_page("runs", run=run.id))
    app = open_page("runs", run=run.id)
    assert "Generate" in links(app)
    assert "Evaluate" in labels(app)


def test_a_failed_run_shows_its_log_only_when_asked(store: RunStore, open_page: OpenPage) -> None:
    run = make_run(store, state=RunState.FAILED, reason="out of GPU memory: lower batch_size, now 128")
    run.log_path.write_text("\n".join(f"line {number}" for number in range(2000)) + "\nTraceback: deep inside\n")
    app = open_page("runs", run=run.id)
    reasons = [each.value.replace("\\", "") for each in app.markdown]
    assert ":red[:material/error: Out of GPU memory: lower batch_size, now 128]" in reasons
    assert not app.text
    press(app, "Read the log")
    assert "Traceback: deep inside" in app.text[0].value


@pytest.mark.slow
def test_a_deleted_run_can_be_brought_back(store: RunStore, open_page: OpenPage, asked: list[tuple[Any, ...]]) -> None:
    run = make_run(store, name="gone soon")
    app = press(open_page("runs", run=run.id), "Delete")
    assert asked == [("delete_run", run.id, "ana")]
    assert "run" not in app.query_params
    assert app.title[0].value == "Runs"
    assert "Deleted **gone soon**." in words_of(app)
    press(app, "Undo")
    assert asked[-1] == ("restore_run", run.id, "ana")
    assert app.query_params["run"] == run.id
    del app.query_params["run"]
    assert "Undo" not in labels(app.run())


def test_a_live_run_is_not_deleted(store: RunStore, open_page: OpenPage) -> None:
    app = open_page("runs", run=running(store)[1].id)
    assert next(button for button in app.button if button.label == "Delete").disabled


def test_a_refusal_is_told_and_nothing_is_lost(
    store: RunStore, open_page: OpenPage, asked: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def _refuse(*args: Any, **facts: Any) -> None:
        raise RunBusy("run x is needed by y", "stop that first")

    monkeypatch.setattr(service, "delete_run", _refuse)
    app = press(open_page("runs", run=make_run(store).id), "Delete")
    assert [error.value for error in app.error] == ["Run x is needed by y; stop that first"]


def test_name_tags_and_notes_are_saved_together(
    store: RunStore, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_USER", "ana")
    run = make_run(store, name="old")
    change_notes(run, by="bea", add_tags=["paper"])
    app = press(open_page("runs", run=run.id), "Name, tags and notes")
    app.text_input(key=f"name-{run.id}").set_value("new")
    app.text_area(key=f"notes-{run.id}").set_value("looks *right*\nsecond line")
    app.multiselect(key=f"tags-{run.id}").set_value([])
    app.button(key="describe-yes").click().run()
    assert not app.error
    assert read_notes(run) == Notes(notes="looks *right*\nsecond line")
    assert app.title[0].value == "new"
    assert "looks *right*\nsecond line" in [text.value for text in app.text]


def test_notes_that_somebody_changed_meanwhile_are_kept(store: RunStore, open_page: OpenPage) -> None:
    run = make_run(store, name="mine")
    app = press(open_page("runs", run=run.id), "Name, tags and notes")
    change_notes(run, by="bea", notes="hers")
    app.text_area(key=f"notes-{run.id}").set_value("his")
    app.button(key="describe-yes").click().run()
    assert "another person changed the notes" in app.error[0].value.replace("\\", "")
    assert read_notes(run).notes == "hers"


def test_a_favourite_is_marked_for_this_person_only(
    store: RunStore, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_USER", "ana")
    run = make_run(store, name="good")
    make_run(store, name="other")
    open_page("runs", run=run.id).button(key="favourite").click().run()
    assert read_notes(run).favourite_of == ("ana",)
    app = open_page("runs")
    assert [row.get("marks", []) for row in table(app)["rows"]] == [[], ["★"]]
    app.pills(key="favourites").set_value("★ mine").run()
    assert names(app) == ["good"]
    monkeypatch.setenv("LAB_USER", "bea")
    assert names(open_page("runs")) == ["other", "good"]


@pytest.mark.slow
def test_a_branch_starts_from_a_checkpoint_with_changed_settings(
    store: RunStore, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    run = make_run(store, name="stem")
    child = make_run(store, name="twig")
    write_checkpoint(run, 40)

    def _branch(store: RunStore, run_id: str, step: int, **facts: Any) -> Run:
        calls.append({"run": run_id, "step": step, **facts})
        return child

    monkeypatch.setattr(service, "branch_run", _branch)
    monkeypatch.setenv("LAB_USER", "bea")
    app = press(open_page("runs", run=run.id, tab="Checkpoints"), "Branch from here")
    app.number_input(key=f"branch-{run.id}-40/train_unet.steps").set_value(300).run()
    app.button(key=f"branch-{run.id}-40/yes").click().run()
    assert calls == [
        {
            "run": run.id,
            "step": 40,
            "owner": "bea",
            "name": "stem, from step 40",
            "overrides": {"train_unet.steps": 300},
        }
    ]
    assert app.query_params["run"] == child.id


@pytest.mark.slow
def test_filters_and_pages_keep_many_runs_at_hand(store: RunStore, open_page: OpenPage) -> None:
    for number in range(PAGE_ROWS + 3):
        age(make_run(store, name=f"run {number}", logged=0, owner="ana" if number else "bea"), hours=number)
    app = open_page("runs")
    assert len(names(app)) == PAGE_ROWS
    assert "1–50 of 53" in words_of(app)
    app = open_page("runs", part="2")
    assert names(app) == ["run 50", "run 51", "run 52"]
    for odd in ("99", "-1", "x", "2²", ""):
        assert names(open_page("runs", part=odd))
    app.selectbox(key="filter-owner").select("bea").run()
    assert names(app) == ["run 0"]


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Filter(), True),
        (Filter(search="First PAPER"), True),
        (Filter(search="slow net"), True),
        (Filter(search="first nothing"), False),
        (Filter(kind="U-Net", owner="ana", tag="paper", favourites_of="bea"), True),
        (Filter(kind="VAE"), False),
        (Filter(owner="bea"), False),
        (Filter(tag="keep"), False),
        (Filter(favourites_of="ana"), False),
        (Filter(shown="ended early"), True),
        (Filter(shown="active"), False),
    ],
)
def test_a_filter_wants_what_fits_all_of_it(wanted: Filter, fits: bool, store: RunStore) -> None:
    run = make_run(store, name="First", state=RunState.STOPPED)
    notes = Notes(notes="a slow\nnet", tags=("paper",), favourite_of=("bea",))
    assert wanted.wants(view_of(run.id), notes) is fits


def test_ticked_runs_are_compared_by_a_link(store: RunStore, open_page: OpenPage) -> None:
    runs = [make_run(store, name=str(number)) for number in range(3)]
    app = open_page("runs")
    assert not [label for label in links(app) if label.startswith("Compare ")]
    app.session_state[TICKED] = [runs[0].id, runs[2].id, "20200101-000000-unet-gone"]
    app.run()
    (link,) = [each.proto for each in app.get("page_link") if each.proto.label == "Compare 2"]
    assert urllib.parse.parse_qs(link.query_string) == {"runs": [f"{runs[0].id},{runs[2].id}"]}


def test_ticked_runs_are_tagged_and_deleted_after_a_question(
    store: RunStore, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_USER", "ana")
    first, other, third = (make_run(store, name=name) for name in ("first", "other", "third"))
    app = open_page("runs")
    app.session_state[TICKED] = [first.id, third.id]
    app.run()
    app.text_input(key="bulk-tag").set_value("paper").run()
    app.button(key="bulk-tag-yes").click().run()
    assert [read_notes(run).tags for run in (first, other, third)] == [("paper",), (), ("paper",)]
    app.button(key="bulk-delete").click().run()
    assert len(store.list()) == 3
    app.button(key="confirm-yes").click().run()
    assert [run.id for run in store.list()] == [other.id]
    assert not app.exception
    assert labels(app).count("Undo") == 2


def test_the_link_chooses_columns_the_order_and_groups(store: RunStore, open_page: OpenPage) -> None:
    vae = make_run(store, "vae", name="encoder", logged=0)
    make_run(store, name="alone", settings=tiny_settings(**{"train_unet.learning_rate": 0.5}), logged=0)
    make_run(store, name="child", parents=(vae.id,), logged=0)
    for old_link in ({}, {"order": "VAE with its U-Nets"}):
        assert names(open_page("runs", **old_link)) == ["encoder", "↳ child", "alone"]
    assert names(open_page("runs", group="false")) == ["child", "alone", "encoder"]
    app = open_page("runs", order="learning rate", group="false")
    assert names(app)[0] == "alone" and table(app)["order"] == ["learning rate", "descending"]
    app = open_page("runs", order="-learning rate", group="false")
    assert names(app)[-1] == "alone" and table(app)["order"] == ["learning rate", "ascending"]
    app.multiselect(key="columns").set_value(["learning rate", "set data.image_size", "last loss"]).run()
    heads = [title for _, title, _, _ in table(app)["columns"]]
    assert heads == ["state", "learning rate", "set data.image_size", "last loss"]
    assert column(app, "set data.image_size") == ["16", "16", "16"]
    assert column(app, "learning rate")[-1] == "0.5"
    assert names(open_page("runs", order="no such column")) == ["encoder", "↳ child", "alone"]


def test_the_best_value_of_a_metric_and_the_size_follow_the_files(store: RunStore, open_page: OpenPage) -> None:
    run = make_run(store, name="one", logged=0)
    writer = MetricsWriter(run.metrics_path)
    for step, (loss, speed) in enumerate([(0.5, 10.0), (0.125, 30.0), (0.25, 20.0)]):
        writer.append({"step": step, "loss": loss, "images_per_s": speed})
    app = open_page("runs", order="best loss")
    app.multiselect(key="columns").set_value(["best loss", "best images_per_s", "size"]).run()
    assert (column(app, "best loss"), column(app, "best images_per_s")) == (["0.125"], ["30"])
    before = figure_of(view_of(run.id), "size")
    writer.append({"step": 3, "loss": 0.0625, "images_per_s": 1.0})
    (run.folder / "checkpoints").mkdir(exist_ok=True)
    (run.folder / "checkpoints" / "weights").write_bytes(b"0" * 5_000_000)
    app.run()
    assert column(app, "best loss") == ["0.0625"]
    assert figure_of(view_of(run.id), "size") > before + 5_000_000 - 1
    assert column(app, "size")[0].startswith("5.0 MB")


def test_what_was_measured_the_old_way_is_marked_and_has_no_rank(store: RunStore, open_page: OpenPage) -> None:
    for name, fd, rule in (("old", 0.01, 1), ("worse", 0.9, LABELS_RULE), ("better", 0.1, LABELS_RULE)):
        run = make_run(store, name=name, kind="unet")
        write_report(run, replace(REPORT, run_id=run.id, fd_judge=fd, labels_rule=rule))
    app = open_page("runs", order="FD-judge")
    assert (names(app), column(app, "FD-judge")) == (["better", "worse", "old"], ["0.1", "0.9", "0.01 (old)"])
    assert column(open_page("runs", order="-FD-judge"), "FD-judge")[-1] == "0.01 (old)"


def test_what_takes_long_to_read_is_left_for_later_and_known_then(store: RunStore) -> None:
    views = [view_of(make_run(store).id) for _ in range(3)]
    reader = Reader(patience_s=0.0)
    assert [reader.value(view, "best loss") for view in views] == [None] * 3
    assert [(view.id, name) for view, name in reader.later] == [(view.id, "best loss") for view in views]
    known = [figure_of(view, name) for view, name in reader.later]
    assert [Reader(patience_s=0.0).value(view, "best loss") for view in views] == known
    assert None not in known


def test_a_name_is_a_link_to_its_run_relative_to_the_page(store: RunStore, open_page: OpenPage) -> None:
    run = make_run(store, name="[a](http://x)")
    (row,) = table(open_page("runs"))["rows"]
    assert (row["href"], row["title"]) == (f"runs?run={run.id}", "[a](http://x)")


def test_an_evaluation_is_listed_under_its_unet_and_opens(store: RunStore, open_page: OpenPage) -> None:
    unet = make_run(store, name="denoiser")
    job = store.create(
        "evaluation", tiny_settings(), name="its quality", owner="ana", parents=(unet.id,), steps_total=1
    )
    assert names(open_page("runs")) == ["denoiser", "↳ its quality"]
    app = open_page("runs", run=job.id)
    assert not app.exception and app.title[0].value == "its quality"


def test_a_comparison_shows_the_settings_that_differ_and_a_csv_has_a_line_per_run(
    store: RunStore, open_page: OpenPage
) -> None:
    one = make_run(store, name="one")
    two = make_run(store, name="=two", settings=tiny_settings(**{"train_unet.learning_rate": 0.5}))
    app = open_page("compare", runs=f"{one.id},{two.id}")
    assert not app.exception
    (table,) = [frame.value for frame in app.dataframe if "setting" in frame.value]
    assert list(table["setting"]) == ["train_unet.learning_rate"]
    assert list(table.iloc[0])[1:] == ["0.002", "0.5"] or "0.5" in list(table.iloc[0])
    lines = as_csv([view_of(one.id), view_of(two.id)]).decode().splitlines()
    assert len(lines) == 3
    assert ",=two," not in lines[2]


def test_a_vae_and_its_unet_link_to_each_other(store: RunStore, open_page: OpenPage) -> None:
    vae, unet = (
        make_run(store, "vae", name="the encoder"),
        make_run(store, "unet", name="the denoiser"),
    )
    child = make_run(store, "unet", name="child", parents=(vae.id,))
    assert "Its VAE: the encoder" in links(open_page("runs", run=child.id))
    assert {"Its U-Net: child", "Its U-Net is finished"} <= set(links(open_page("runs", run=vae.id)))
    assert [label for label in links(open_page("runs", run=unet.id)) if label.startswith("Its")] == []


def test_a_deleted_parent_is_no_error(store: RunStore, open_page: OpenPage) -> None:
    child = make_run(store, "unet", parents=("20260101-000000-vae-gone",))
    app = open_page("runs", run=child.id)
    assert not app.error
    assert "(deleted)" in words_of(app)


@pytest.mark.slow
def test_the_zoom_is_kept_from_refresh_to_refresh_and_can_be_undone(store: RunStore, open_page: OpenPage) -> None:
    live = running(store)[1]
    app = open_page("runs", run=live.id)
    assert "Whole run" not in labels(app)
    app.session_state[f"zoom-steps-{live.id}"] = (10.0, 30.0)
    app.run()
    app.run()
    assert app.session_state[f"zoom-steps-{live.id}"] == (10.0, 30.0)
    press(app, "Whole run")
    assert app.session_state[f"zoom-steps-{live.id}"] is None


def test_a_link_to_no_run_says_so_and_leads_back(store: RunStore, open_page: OpenPage) -> None:
    make_run(store)
    app = open_page("runs", run="nothing")
    assert "does not exist" in app.error[0].value
    assert app.title[0].value == "Runs"
    (back,) = [link.proto for link in app.get("page_link") if link.proto.label == "All runs"]
    assert back.page == "runs" and not back.query_string


def test_checkpoints_and_events_are_listed(store: RunStore, open_page: OpenPage) -> None:
    run = make_run(store)
    write_checkpoint(run, 40)
    write_checkpoint(run, 100)
    app = open_page("runs", run=run.id, tab="Checkpoints")
    assert [element.value for element in app.markdown if element.value.startswith("**step")] == [
        "**step 100**",
        "**step 40**",
    ]
    events = open_page("runs", run=run.id, tab="Events").dataframe[0].value
    assert list(events["what"]) == ["started", "created"]


def test_a_branch_from_the_last_checkpoint_is_offered_more_steps_than_that(
    store: RunStore, open_page: OpenPage
) -> None:
    run = make_run(store, settings=tiny_settings(**{"train_unet.steps": 100}))
    write_checkpoint(run, 100)
    app = press(open_page("runs", run=run.id, tab="Checkpoints"), "Branch from here")
    assert app.number_input(key=f"branch-{run.id}-100/train_unet.steps").value == 150


@pytest.mark.parametrize(
    "tab", ["overview", "samples", "metrics", "settings", "log", "checkpoints", "events", "export"]
)
def test_only_the_tab_in_the_link_is_drawn(tab: str, store: RunStore, open_page: OpenPage) -> None:
    app = open_page("runs", run=running(store)[1].id, tab=tab)
    assert not app.exception
    assert not app.error
    assert bool(app.code) == (tab == "Settings")


def test_a_collapsed_vae_says_so_and_leads_to_another_training(store: RunStore, open_page: OpenPage) -> None:
    run = make_run(store, "vae", logged=0)
    MetricsWriter(run.metrics_path).append({"step": 100, "loss": 0.2, "reconstruction": 0.2, "kl": 0.01})
    app = open_page("runs", run=run.id)
    assert "collapsed" in words_of(app)
    assert "try 1e-06" in words_of(app)
    assert "Train again with a lower KL weight" in links(app)
    assert column(open_page("runs"), "state") == ["collapsed"]


@pytest.mark.parametrize("damage", [{"branched_from": 5}, {"branched_from": "x", "branched_step": "many"}])
def test_a_run_that_says_nonsense_about_its_branch_is_a_broken_folder(
    damage: dict[str, Any], store: RunStore, open_page: OpenPage
) -> None:
    make_run(store, name="good")
    run = make_run(store, name="odd")
    values = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps({**values, **damage}))
    app = open_page("runs")
    assert names(app) == ["good"]
    assert "1 folder here" in app.expander[0].label
