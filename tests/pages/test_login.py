"""Where people sign in: strangers see one sentence, members their own buttons, admins all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.pages.conftest import ROOT
from tests.pages.run_folders import tiny_settings

SITE = """site:
  members: ["*@lab.example"]
  admins: [cleo@lab.example]
  people: {ana@lab.example: ana}
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config.yaml of a lab where people sign in."""
    path = tmp_path / "project" / "config.yaml"
    path.parent.mkdir()
    path.write_text(SITE)
    monkeypatch.setenv("LAB_PROJECT", str(path.parent))
    return path


@pytest.fixture
def hers(store: RunStore) -> Run:
    """A run that ana started from her shell, and that failed."""
    run = store.create("vae", tiny_settings(), name="first", owner="ana")
    run.write_status(replace(run.status(), state=RunState.FAILED))
    return run


def visit(user: dict[str, Any], page: str = "overview", **query: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "lab" / "Home.py"), default_timeout=600)
    app.user = user
    app.switch_page(f"../pages/{page}.py")
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def signed_in(mail: str, **claims: Any) -> dict[str, Any]:
    return {"is_logged_in": True, "email": mail, **claims}


def words(app: AppTest) -> list[str]:
    """All that stands on the page, but style sheets, without what keeps Markdown from reading names as links."""
    kinds: tuple[Any, ...] = (app.title, app.header, app.subheader, app.markdown, app.caption, app.error, app.text)
    return [str(element.value).replace("\u2060", "").replace("\\", "") for kind in kinds for element in kind]


def labels(app: AppTest) -> set[str]:
    return {button.label for button in app.button}


@pytest.mark.parametrize(
    ("user", "sentence", "buttons"),
    [
        (signed_in("eve@evil.example"), "**eve@evil.example** is not a member of this lab", set()),
        (signed_in("eve@evil.example", name="ana@lab.example"), "**eve@evil.example** is not a member", set()),
        (signed_in("ana@lab.example", email_verified=False), "does not vouch for your mail address", set()),
        ({"is_logged_in": False}, "Sign in to enter this lab.", {"Sign in"}),
        ({}, "Sign in to enter this lab.", set()),  # past the proxy, or with the login's settings gone
    ],
)
def test_whoever_is_no_member_sees_one_sentence(
    site: Path, hers: Run, user: dict[str, Any], sentence: str, buttons: set[str]
) -> None:
    for page in ("overview", "runs"):
        app = visit(user, page, run=hers.id)
        (said,) = words(app)
        assert sentence in said
        assert labels(app) == buttons
        assert not app.exception


def test_without_a_list_of_members_a_login_lets_nobody_in(site: Path, hers: Run) -> None:
    site.write_text("seed: 0\n")
    assert "is not a member" in words(visit(signed_in("ana@lab.example")))[0]
    site.write_text("site: {members: everybody}\n")
    assert "Nobody can enter until config.yaml is right" in words(visit(signed_in("ana@lab.example")))[0]


def test_members_act_on_their_own_and_admins_on_all(site: Path, hers: Run) -> None:
    for mail, acts in (("ana@lab.example", True), ("Cleo@Lab.example", True), ("ben@lab.example", False)):
        app = visit(signed_in(mail), "runs", run=hers.id)
        assert not app.exception
        assert any("first" in said for said in words(app)), "everybody sees it"
        assert ({"Resume", "Delete"} <= labels(app)) == acts
        assert (labels(app) & {"Resume", "Delete", "Name, tags and notes"} == set()) != acts


def test_a_button_that_stood_there_is_refused_when_the_right_is_gone(site: Path, hers: Run, store: RunStore) -> None:
    app = visit(signed_in("cleo@lab.example"), "runs", run=hers.id)
    site.write_text(SITE.replace("cleo@", "dora@"))
    next(button for button in app.button if button.label == "Delete").click().run()
    assert not app.get("dialog")
    assert [run.id for run in store.list()] == [hers.id]
    site.write_text("site: {members: [dora@lab.example]}\n")
    assert "is not a member" in words(app.run())[0]
