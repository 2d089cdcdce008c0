"""Acting on another's run asks first, on one's own it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from lab.frame.state import WHO_KEY

PAGE = """
import streamlit as st
from core.errors import RunBusy
from lab.frame.confirm import confirm_if_not_mine, open_question
from lab.frame.state import who

def act():
    if st.session_state.get("busy"):
        raise RunBusy("run 7: is busy", "wait")
    st.session_state.done = who()

open_question()
if st.button("Stop it"):
    confirm_if_not_mine(st.session_state["owner"], "stop", act)
st.text("done by " + st.session_state.get("done", "nobody"))
"""


def page(*, owner: str, me: str, **state: object) -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=600)
    app.user = {}
    app.session_state["owner"], app.session_state[WHO_KEY] = owner, me
    for name, value in state.items():
        app.session_state[name] = value
    return press(app.run(), "Stop it")


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def words(app: AppTest) -> str:
    return "\n".join(element.value for element in app.markdown)


def test_ones_own_run_is_acted_on_at_once() -> None:
    app = page(owner="Ana", me="Ana")
    assert app.session_state["done"] == "Ana"
    assert [button.label for button in app.button] == ["Stop it"]


def test_a_run_of_ones_own_login_is_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("site: {people: {ana@lab.example: Ana}}\n")
    monkeypatch.setenv("LAB_PROJECT", str(tmp_path))
    assert page(owner="Ana@Lab.example", me="Ana").session_state["done"] == "Ana"
    assert "done" not in page(owner="bob@lab.example", me="Ana").session_state


def test_anothers_run_is_acted_on_after_a_yes_only() -> None:
    app = page(owner="Ana", me="Bob")
    assert "done" not in app.session_state
    assert "**Ana**" in words(app)
    assert "**Bob**" in words(app)
    assert press(app, "Stop").session_state["done"] == "Bob"


def test_a_no_leaves_it_alone() -> None:
    app = press(page(owner="Ana", me="Bob"), "Cancel")
    assert "done" not in app.session_state
    assert not app.get("dialog")


def test_the_question_stays_until_it_is_answered() -> None:
    app = page(owner="Ana", me="Bob").run().run()
    assert app.get("dialog")
    assert not press(app, "Stop").get("dialog")


@pytest.mark.parametrize("me", ["Ana", "Bob"])
def test_a_refusal_is_told_in_one_sentence(me: str) -> None:
    app = page(owner="Ana", me=me, busy=True)
    if me == "Bob":
        app = press(app, "Stop")
    assert not app.exception
    assert "is busy; wait" in app.error[0].value


def test_who_has_no_name_yet_is_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_USER", "service-account")
    app = page(owner="Ana", me="")
    app.text_input[0].set_value("Bea").run()
    assert "**Bea**" in words(app)
    assert press(app, "Stop").session_state["done"] == "Bea"


def test_a_hostile_owner_is_plain_text() -> None:
    app = page(owner="![pixel](http://198.51.100.7/p.png)", me="Bob")
    assert "![" not in words(app) + app.get("dialog")[0].proto.dialog.title
