"""The Overview screen, and the line above every page."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from core.jobs import queue_view, service
from core.jobs.queue_view import QueueEntry
from core.runs.run import RunState
from core.runs.store import RunStore
from lab.frame.state import WHO_KEY
from tests.pages.conftest import OpenPage
from tests.pages.run_folders import ended_badly, finished, make_run, running


def test_an_empty_lab_offers_one_button_from_nothing_to_digits(
    open_page: OpenPage, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []

    def _start(kind: str, settings: Any, **facts: Any) -> list[Any]:
        calls.append((kind, settings.data.name, facts["preset"], facts["owner"]))
        return [make_run(store, "vae", state=RunState.QUEUED, step=0, logged=0)]

    monkeypatch.setattr(service, "start_training", _start)
    app = open_page("overview")
    assert app.title[0].value == "From nothing to digits"
    app.session_state[WHO_KEY] = "Ana"
    next(button for button in app.button if button.label == "Train both on MNIST").click().run()
    assert calls == [("all", "mnist", "quick", "Ana")]


def test_a_lab_at_rest_shows_the_latest_pictures_and_what_ended(store: RunStore, open_page: OpenPage) -> None:
    finished(store)
    app = open_page("overview")
    words = "\n".join(element.value for element in (*app.markdown, *app.subheader, *app.caption))
    assert "Nothing is running" in words
    assert "Latest pictures" in words
    assert "First light, step 100" in words
    assert len(app.get("image")) == 1


def test_running_runs_have_live_cards_and_queued_ones_come_last(store: RunStore, open_page: OpenPage) -> None:
    running(store)
    app = open_page("overview")
    cards = [element.value for element in app.markdown if element.value.startswith("#### ")]
    assert cards == ["#### Live"]
    assert len(app.get("plotly_chart")) == 1
    lines = [element.value for element in app.markdown]
    assert lines.index("**1** waiting") > lines.index("#### Live")
    assert any(line.startswith("Next") for line in lines)


def test_a_paused_run_waits_and_did_not_end(
    store: RunStore, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(store, state=RunState.STOPPED, step=40, name="Held", reason="paused by ana at step 40")
    held = QueueEntry(
        run=run,
        state="paused",
        place=1,
        priority=0,
        owner="ana",
        device="auto",
        slots=(),
        waits_for="",
        expected_start_s=None,
        expected_end_s=None,
        started_at="",
    )
    monkeypatch.setattr(queue_view, "queue_view", lambda store: [held])
    app = open_page("overview")
    assert [element.value for element in app.subheader] == ["In the queue"]
    assert any("paused]" in element.value for element in app.markdown)


def test_what_ended_since_the_last_visit_comes_first(store: RunStore, open_page: OpenPage) -> None:
    old, new = make_run(store, "vae", name="Old"), make_run(store, "vae", name="New")
    status = json.loads(old.status_path.read_text())
    old.status_path.write_text(json.dumps({**status, "heartbeat_at": "2020-01-01T00:00:00+00:00"}))
    app = open_page("overview")
    assert "Ended since you were here" not in [element.value for element in app.subheader]
    app.session_state["notices-since"] = datetime(2021, 1, 1, tzinfo=UTC).timestamp()
    app.run()
    titles = [element.value for element in app.subheader]
    assert titles.index("Ended since you were here") < titles.index("Ended before")
    lines = "\n".join(element.value for element in app.markdown)
    assert lines.index("New") < lines.index("Old")
    assert new.id != old.id


def test_a_failed_run_says_why(store: RunStore, open_page: OpenPage) -> None:
    ended_badly(store)
    assert "the loss was NaN" in "\n".join(caption.value for caption in open_page("overview").caption)


def test_the_machine_is_in_one_line_on_every_page(store: RunStore, open_page: OpenPage) -> None:
    labels = [element.proto.label for element in open_page("train").get("page_link")][:3]
    assert "free" in labels[0]
    assert labels[1] == "none waiting"
    assert "free" in labels[2]
