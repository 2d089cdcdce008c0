"""Background work on a screen: its bar and its button go when it is over."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.errors import UsageError
from lab.services import background


def page() -> None:
    import time

    from core.errors import UsageError
    from lab.frame.task_progress import LOOK_S, result_once
    from lab.services import background

    def refused(tell: object, cancelled: object) -> None:
        time.sleep(3 * LOOK_S)  # the bar is drawn meanwhile
        raise UsageError("no such thing", "choose another")

    background.begin("test-work", refused)
    result_once("test-work", "Looking")


def test_what_was_refused_leaves_its_sentence_and_no_button() -> None:
    app = AppTest.from_function(page, default_timeout=600).run()
    assert not app.exception and "No such thing" in app.error[0].value
    assert not app.button and not app.get("progress")


def test_work_that_is_done_alone_refuses_a_second_asker_and_tells_its_outcome_to_whom_it_belongs() -> None:
    goes_on = threading.Event()
    first = background.begin_alone("test of a", "Ana", lambda *_: goes_on.wait(600), busy="another test is made")
    with pytest.raises(UsageError, match="another test is made by Ana; wait until it is done"):
        background.begin_alone("test of a", "Ben", lambda *_: None, busy="another test is made")
    assert background.begin_alone("test of b", "Ben", lambda *_: "b", busy="").wait(600)
    goes_on.set()
    assert first.wait(600)
    assert background.begin_alone("test of a", "Ben", lambda *_: "ben's", busy="").wait(600)
    outcomes = {by: background.find(background.own_key("test of a", by)) for by in ("Ana", "Ben", "Cleo")}
    assert [work and work.result for work in outcomes.values()] == [True, "ben's", None]


def test_to_forget_a_work_leaves_a_newer_one_under_its_key() -> None:
    goes_on = threading.Event()
    old = background.begin_alone("test of c", "Ana", lambda *_: goes_on.wait(600), busy="")
    old.cancel()
    new = background.begin_alone("test of c", "Ana", lambda *_: goes_on.wait(600), busy="")
    background.forget(old)
    assert background.find(new.key) is new
    background.forget(new)
    assert background.find(new.key) is None
    goes_on.set()


def test_results_that_are_done_stay_within_a_bound_and_the_newest_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "KEPT_BYTES", 1000)
    for place in range(4):
        assert background.begin(f"bound-{place}", lambda *_: np.zeros(400, np.uint8)).wait(600)
    assert background.begin("bound-large", lambda *_: [np.zeros(5000, np.uint8)]).wait(600)
    assert background.begin("bound-next", lambda *_: 0).wait(600)
    names = [f"bound-{place}" for place in range(4)]
    assert [name for name in names if background.find(name)] == []
    assert background.find("bound-large") and background.find("bound-next")
