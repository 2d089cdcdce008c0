"""What is told about runs since the last look, to whom, and when somebody was here last."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from core.jobs.housekeeping import DIVERGING
from core.runs.notes import change_notes
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from lab.frame.notifications import Seen, diverges, happened, look, since_last_visit
from lab.services.runs import RunView
from tests.pages.run_folders import HOSTILE_NAMES, make_run


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("LAB_USER", "ana")
    st.cache_data.clear()
    st.cache_resource.clear()
    return RunStore(tmp_path / "runs")


def view(run: Run) -> RunView:
    return RunView(run=run, status=run.status())


def end(run: Run, state: RunState, reason: str = "") -> RunView:
    run.write_status(replace(run.status(), state=state, reason=reason, process=None))
    return view(run)


@pytest.mark.parametrize(
    ("state", "reason", "words", "bad"),
    [
        (RunState.FINISHED, "", "First finished after 42 s of training", False),
        (RunState.FAILED, "out of GPU memory", "First failed: out of GPU memory", True),
        (RunState.STOPPED, "stopped by bea at step 40", "First: stopped by bea at step 40", False),
        (RunState.INTERRUPTED, "the machine was restarted", "First was interrupted: the machine was restarted", True),
    ],
)
def test_an_ending_is_told_once_in_words(state: RunState, reason: str, words: str, bad: bool, store: RunStore) -> None:
    run = make_run(store, name="First", state=RunState.RUNNING, step=40)
    before = look([view(run)])
    assert happened(before, [view(run)]) == []
    ended = end(run, state, reason)
    (notice,) = happened(before, [ended])
    assert (notice.words, notice.bad, notice.run_id) == (words, bad, run.id)
    assert happened(look([ended]), [ended]) == []


def test_the_same_ending_has_the_same_tag_whoever_tells_it(store: RunStore) -> None:
    run = make_run(store, state=RunState.RUNNING, step=40)
    before, ended = look([view(run)]), end(run, RunState.FAILED)
    assert [notice.tag for notice in happened(before, [ended])] == [notice.tag for notice in happened(before, [ended])]


def test_a_run_that_diverges_is_told_once_and_again_after_a_resume(store: RunStore) -> None:
    run = make_run(store, name="First", state=RunState.RUNNING, step=40)
    before = look([view(run)])
    run.add_event(DIVERGING, step=40)
    (notice,) = happened(before, [view(run)])
    assert notice.words == "First diverges: a value was not a number near step 40"
    assert notice.bad
    assert happened(look([view(run)]), [view(run)]) == []
    run.add_event("resumed", from_step=20)
    assert not diverges(run)


def test_a_run_too_quick_to_be_seen_alive_is_told_but_an_old_one_is_not(store: RunStore) -> None:
    run = make_run(store, name="Quick")
    now = datetime.now(UTC)
    assert [notice.words for notice in happened({}, [view(run)], now=now)] == ["Quick finished after 42 s of training"]
    assert happened({}, [view(run)], now=now + timedelta(hours=1)) == []


def test_a_stop_is_told_once_its_process_is_gone(store: RunStore) -> None:
    run = make_run(store, name="First", state=RunState.RUNNING, step=40)
    before = look([view(run)])
    stopped = end(run, RunState.STOPPED, "stopped by ana at step 40")
    assert happened(before, [stopped], {run.id}) == []
    before = look([stopped], {run.id})
    paused = end(run, RunState.STOPPED, "paused by ana at step 40")
    assert [notice.words for notice in happened(before, [paused])] == ["First: paused by ana at step 40"]


def test_a_damaged_heartbeat_is_old(store: RunStore) -> None:
    run = make_run(store)
    run.status_path.write_text(json.dumps({**json.loads(run.status_path.read_text()), "heartbeat_at": "yesterday"}))
    assert happened({}, [view(run)]) == []


def test_a_look_knows_what_is_alive(store: RunStore) -> None:
    live, over = make_run(store, state=RunState.QUEUED, logged=0), make_run(store)
    known = look([view(live), view(over)])
    assert known == {live.id: Seen(active=True, diverging=False), over.id: Seen(active=False, diverging=False)}


@pytest.mark.parametrize(
    ("cookie", "since"),
    [
        ("", 0.0),
        ("x~y", 0.0),
        ("nan~nan", 0.0),
        ("~", 0.0),
        ("0~99000", 0.0),  # the first visit, still going on
        ("50000~99000", 50000.0),  # reloaded a quarter of an hour later: the same visit
        ("50000~90000", 90000.0),  # back after hours
        ("0~200000", 0.0),  # from the future
        ("99000~50000", 0.0),
        ("1~2~3", 0.0),
    ],
)
def test_a_visit_ends_with_half_an_hour_of_silence(cookie: str, since: float) -> None:
    assert since_last_visit(cookie, 100_000.0) == since


PAGE = """
import streamlit as st
from lab.frame.notices import notices
notices()
"""


def opened(run_id: str = "") -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=600)
    app.user = {}
    if run_id:
        app.query_params["run"] = run_id
    return app.run()


def toasts(app: AppTest) -> list[str]:
    return [toast.value.replace("\\", "") for toast in app.toast]


def ticked(app: AppTest) -> AppTest:
    st.cache_data.clear()
    st.cache_resource.clear()  # the shared list may be a second old
    return app.run()


@pytest.mark.parametrize(("owner", "marked", "told"), [("ana", "", 1), ("bea", "", 0), ("bea", "ana", 1)])
def test_people_hear_about_their_own_runs_and_their_favourites(
    owner: str, marked: str, told: int, store: RunStore
) -> None:
    run = make_run(store, name="First", owner=owner, state=RunState.RUNNING, step=40)
    if marked:
        change_notes(run, by=marked, favourite=True)
    app = opened()
    assert toasts(app) == []
    end(run, RunState.FINISHED)
    assert len(toasts(ticked(app))) == told
    assert toasts(ticked(app)) == []


def test_the_run_that_somebody_looks_at_is_told_too(store: RunStore) -> None:
    run = make_run(store, name="First", owner="bea", state=RunState.RUNNING, step=40)
    app = opened(run.id)
    end(run, RunState.FAILED, "disk full")
    assert toasts(ticked(app)) == ["First failed: disk full"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_told_as_plain_text(name: str, store: RunStore) -> None:
    run = make_run(store, name=name, state=RunState.RUNNING, step=40)
    app = opened()
    end(run, RunState.FAILED, name)
    (toast,) = ticked(app).toast
    signs = ("![", "<img", "[link](", "**bold", "$", "`", "~~", "http://", "<b>")
    assert [sign for sign in signs if re.search(r"(?<!\\)" + re.escape(sign), toast.value)] == []
