"""The Overview screen, and the line above every page."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from core.jobs import queue_view, service
from core.jobs.queue_entry import QueueEntry
from core.runs.run import RunState
from core.runs.store import RunStore
from lab.frame.state import WHO_KEY
from lab.overview.image_path import PARTS
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
    assert app.title[0].value == "Nothing trained yet"
    app.session_state[WHO_KEY] = "Ana"
    next(button for button in app.button if button.label == "Train both on MNIST").click().run()
    assert calls == [("all", "mnist", "quick", "Ana")]


def test_every_part_of_the_path_of_an_image_opens_its_page(open_page: OpenPage) -> None:
    app = open_page("overview")
    links = {element.proto.label: element.proto.page for element in app.get("page_link")}
    assert {part.name: links[part.name] for part in PARTS} == {part.name: part.page for part in PARTS}
    classes = next(element.proto.body for element in app.get("html") if "lab-classes" in element.proto.body)
    assert [classes.count(f"<figcaption>{digit}<") for digit in range(10)] == [1] * 10


def test_a_lab_at_rest_shows_the_latest_pictures_and_what_ended(store: RunStore, open_page: OpenPage) -> None:
    finished(store)
    app = open_page("overview")
    words = "\n".join(element.value for element in (*app.markdown, *app.subheader, *app.caption))
    assert "No run is active" in words
    assert "Latest samples" in words
    assert "First light, step 100" in words
    assert len(app.get("image")) == 1


def test_running_runs_have_live_cards_and_queued_ones_come_last(store: RunStore, open_page: OpenPage) -> None:
    running(store)
    app = open_page("overview")
    labels = [element.proto.label for element in app.get("page_link")]
    assert labels.index("**Live**") < labels.index("Next")
    assert "**1** waiting" in [element.value for element in app.markdown]
    (loss,) = [element.proto.body for element in app.get("html") if 'class="lab-live-loss"' in element.proto.body]
    assert "<img" in loss  # st.html removes inline SVG


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
    assert "Ended since your last visit" not in [element.value for element in app.subheader]
    app.session_state["notices-since"] = datetime(2021, 1, 1, tzinfo=UTC).timestamp()
    app.run()
    titles = [element.value for element in app.subheader]
    assert titles.index("Ended since your last visit") < titles.index("Ended before")
    labels = [element.proto.label for element in app.get("page_link")]
    assert labels.index("New") < labels.index("Old")
    assert new.id != old.id


def test_a_failed_run_says_why(store: RunStore, open_page: OpenPage) -> None:
    ended_badly(store)
    assert "the loss was NaN" in "\n".join(caption.value for caption in open_page("overview").caption)


def test_the_machine_is_in_one_line_on_every_page(store: RunStore, open_page: OpenPage) -> None:
    app = open_page("train")
    words = next(caption.value for caption in app.caption if ":material/memory:" in caption.value)
    assert "Room for a run" in words and "0 waiting" in words and words.endswith(" free")
    assert [element.proto.label for element in app.get("page_link")].count("Machine") == 1
