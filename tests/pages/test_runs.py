"""The Runs screen: the list, and what can be done with one run."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.errors import RunBusy
from core.jobs import service
from core.runs.run import RunState
from core.runs.store import RunStore
from lab.state import WHO_KEY
from tests.pages.conftest import OpenPage
from tests.pages.run_folders import ended_badly, make_run, running, write_checkpoint


def names(app: AppTest) -> list[str]:
    return list(app.dataframe[0].value["name"])


def labels(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was asked of the service: (function, run id, by)."""
    calls: list[tuple[Any, ...]] = []
    for name in ("request_stop", "force_stop", "resume_run", "delete_run"):
        monkeypatch.setattr(
            service, name, lambda store, run_id, by="", _name=name: calls.append((_name, run_id, by))
        )  # fmt: skip
    return calls


def test_the_list_is_newest_first_with_states_in_words(store: RunStore, open_page: OpenPage) -> None:
    running(store)
    frame = open_page("runs").dataframe[0].value
    assert list(frame["name"]) == ["Next", "Live", "First light (VAE)"]
    assert [state[0] for state in frame["state"]] == ["queued", "running", "finished"]
    assert list(frame["progress"]) == [0.0, 0.4, 1.0]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("all", ["Next", "Live", "First light (VAE)"]),
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
    states = open_page("runs", show="ended early").dataframe[0].value["state"]
    assert sorted(state[0] for state in states) == ["failed", "interrupted", "stopped"]


@pytest.mark.parametrize(("text", "found"), [("LIVE", 1), ("ana", 3), ("digits", 3), ("nothing like it", 0)])
def test_the_search_looks_at_name_owner_and_data(text: str, found: int, store: RunStore, open_page: OpenPage) -> None:
    running(store)
    app = open_page("runs", search=text)
    assert (len(names(app)) if app.dataframe else 0) == found


def test_broken_folders_are_named_below_the_list(store: RunStore, open_page: OpenPage) -> None:
    make_run(store)
    (store.root / "odd").mkdir()
    app = open_page("runs")
    assert app.expander[0].label == "1 folder here cannot be read as a run"
    assert app.text[0].value == "odd: no run.json"


def test_a_running_run_shows_how_far_it_is_and_can_be_stopped(
    store: RunStore, open_page: OpenPage, asked: list[tuple[Any, ...]]
) -> None:
    live = running(store)[1]
    app = open_page("runs", run=live.id)
    assert "step 40 of 100 · 1,234 pictures/s · 2 min left" in app.caption[0].value.replace("\\", "")
    assert {"Resume", "Generate", "Delete it for good"}.isdisjoint(labels(app))
    app.session_state[WHO_KEY] = "Bea"
    press(app, "Stop")
    assert asked == [("request_stop", live.id, "Bea")]


def test_a_run_that_is_stopping_can_be_killed(
    store: RunStore, open_page: OpenPage, asked: list[tuple[Any, ...]]
) -> None:
    live = make_run(store, state=RunState.STOPPING, step=40)
    app = open_page("runs", run=live.id)
    assert next(button for button in app.button if button.label == "Stop").disabled
    press(app, "Kill")
    assert [call[:2] for call in asked] == [("force_stop", live.id)]


@pytest.mark.parametrize("place", range(3))
def test_a_run_that_ended_early_says_why_and_can_be_resumed(
    place: int, store: RunStore, open_page: OpenPage, asked: list[tuple[Any, ...]]
) -> None:
    run = ended_badly(store)[place]
    app = open_page("runs", run=run.id)
    words = "\n".join(element.value for element in app.markdown).replace("\\", "")
    assert run.status().reason[1:20] in words
    press(app, "Resume")
    assert [call[:2] for call in asked] == [("resume_run", run.id)]


def test_a_finished_run_is_not_resumed_but_draws(store: RunStore, open_page: OpenPage) -> None:
    run = make_run(store)
    write_checkpoint(run, 100)
    assert "Resume" not in labels(open_page("runs", run=run.id))
    assert "Generate" in labels(open_page("runs", run=run.id))


def test_deleting_asks_first_and_returns_to_the_list(store: RunStore, open_page: OpenPage) -> None:
    run = make_run(store, name="gone soon")
    app = press(open_page("runs", run=run.id), "Delete it for good")
    assert store.list() == []
    assert "run" not in app.query_params
    assert app.title[0].value == "Runs"


def test_a_refusal_is_told_where_the_button_is(
    store: RunStore, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def _refuse(*args: Any, **facts: Any) -> None:
        raise RunBusy("run x is needed by y", "stop that first")

    monkeypatch.setattr(service, "delete_run", _refuse)
    app = press(open_page("runs", run=make_run(store).id), "Delete it for good")
    assert [error.value for error in app.error] == ["Run x is needed by y; stop that first"]


def test_a_vae_and_its_unet_link_to_each_other(store: RunStore, open_page: OpenPage) -> None:
    vae, unet = (
        make_run(store, "vae", name="the encoder"),
        make_run(store, "unet", name="the denoiser"),
    )
    child = make_run(store, "unet", name="child", parents=(vae.id,))
    assert "Its VAE: the encoder" in labels(open_page("runs", run=child.id))
    assert "Its U-Net: child" in labels(open_page("runs", run=vae.id))
    assert [label for label in labels(open_page("runs", run=unet.id)) if label.startswith("Its")] == []


def test_a_deleted_parent_is_no_error(store: RunStore, open_page: OpenPage) -> None:
    child = make_run(store, "unet", parents=("20260101-000000-vae-gone",))
    app = open_page("runs", run=child.id)
    assert not app.error
    assert "(deleted)" in "\n".join(caption.value for caption in app.caption)


def test_the_zoom_is_kept_from_refresh_to_refresh_and_can_be_undone(store: RunStore, open_page: OpenPage) -> None:
    live = running(store)[1]
    app = open_page("runs", run=live.id)
    assert "Whole run" not in labels(app)
    app.session_state[f"range-{live.id}"] = (10.0, 30.0)
    app.run()
    app.run()
    assert app.session_state[f"range-{live.id}"] == (10.0, 30.0)
    press(app, "Whole run")
    assert app.session_state[f"range-{live.id}"] is None


def test_a_link_to_no_run_says_so_and_leads_back(store: RunStore, open_page: OpenPage) -> None:
    make_run(store)
    app = open_page("runs", run="nothing")
    assert "does not exist" in app.error[0].value
    assert app.title[0].value == "Runs"
    assert len(press(app, "All runs").dataframe) == 1


def test_checkpoints_and_events_are_listed(store: RunStore, open_page: OpenPage) -> None:
    run = make_run(store)
    write_checkpoint(run, 40)
    write_checkpoint(run, 100)
    frames = [frame.value for frame in open_page("runs", run=run.id).dataframe]
    assert ["100", "40"] in [list(frame["step"]) for frame in frames if "step" in frame]
    assert ["started", "created"] in [list(frame["what"]) for frame in frames if "what" in frame]
