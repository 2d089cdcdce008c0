"""Who is here, and the machine in three glyphs above every page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit import config
from streamlit.testing.v1 import AppTest

from lab.frame import header
from lab.frame.notifications import Notice
from lab.frame.state import WHO_KEY
from lab.services.room import MachineGlance, Room

WHO = "import streamlit as st\nfrom lab.frame.state import who, is_named\nst.text(who())\nst.text(str(is_named()))"
LINE = "from lab.frame.header import top_line\ntop_line()"
GLANCE = MachineGlance(
    room=Room(free=("GPU 1",), devices=("GPU 0", "GPU 1"), waiting=3),
    device_words="GPU 0: busy with a run of ana · GPU 1: free",
    disk_free=120_000_000_000,
    disk_is_short=False,
)
HEADERS = {"X-Forwarded-Email": "email"}


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_USER", "service-account")
    monkeypatch.setattr(header, "glance", lambda: GLANCE)


@pytest.fixture
def proxy_headers() -> Any:
    """server.trustedUserHeaders as a proxy needs them, for one test."""
    before = config.get_option("server.trustedUserHeaders")
    config.set_option("server.trustedUserHeaders", HEADERS)
    yield
    config.set_option("server.trustedUserHeaders", before)


@pytest.fixture
def members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config.yaml of a lab with a login."""
    path = tmp_path / "config.yaml"
    path.write_text('site: {members: ["*@example.com"], people: {bea@example.com: bea}}\n')
    monkeypatch.setenv("LAB_PROJECT", str(tmp_path))
    return path


def run(source: str, *, typed: str = "", user: dict[str, Any] | None = None) -> AppTest:
    app = AppTest.from_string(source, default_timeout=600)
    app.user = user or {}
    app.session_state[WHO_KEY] = typed
    return app.run()


@pytest.mark.parametrize(
    ("typed", "user", "expected"),
    [
        ("", {}, "service-account"),
        ("Ana", {}, "Ana"),
        ("Ana", {"is_logged_in": True, "email": "Bea@Example.com"}, "bea@example.com"),
        ("Ana", {"is_logged_in": True, "email": "bea@example.com", "email_verified": True}, "bea@example.com"),
        ("Ana", {"is_logged_in": True, "email": "bea@example.com", "email_verified": "false"}, "Ana (not signed in)"),
        ("Ana", {"is_logged_in": True, "name": "Bea", "preferred_username": "bea"}, "Ana (not signed in)"),
        ("Ana", {"is_logged_in": True, "name": "Bea", "sub": "0001"}, "0001"),  # names are chosen, identifiers are not
        ("Ana", {"is_logged_in": True, "email": "b" * 254 + "@example.com"}, "Ana (not signed in)"),
        ("Ana", {"is_logged_in": True, "email": "b" * 70 + "@example.com"}, "b" * 70 + "@example.com"),
        ("Ana", {"email": "proxy@example.com"}, "proxy@example.com"),
        ("Ana", {"preferred_username": "bea"}, "bea"),
        ("bea@example.com", {"is_logged_in": False}, "bea@example.com (not signed in)"),
        ("", {"is_logged_in": False}, "service-account (not signed in)"),
        ("two\nlines" + "x" * 100, {}, "two lines" + "x" * 50 + "…"),
    ],
)
def test_a_login_beats_the_typed_name_and_a_typed_one_never_passes_for_it(
    typed: str, user: dict[str, Any], expected: str
) -> None:
    assert run(WHO, typed=typed, user=user).text[0].value == expected


def test_a_typed_name_behind_a_proxy_is_no_login(proxy_headers: None) -> None:
    assert run(WHO, typed="Ana").text[0].value == "Ana (not signed in)"
    assert run(WHO, typed="Ana", user={"email": "ana@example.com"}).text[0].value == "ana@example.com"


@pytest.mark.parametrize(
    ("typed", "user", "named"), [("", {}, "False"), ("Ana", {}, "True"), ("", {"name": "B"}, "True")]
)
def test_somebody_is_named_by_login_or_word(typed: str, user: dict[str, Any], named: str) -> None:
    assert run(WHO, typed=typed, user=user).text[1].value == named


def test_three_glyphs_tell_of_the_machine() -> None:
    (words,) = [caption.value for caption in run(LINE).caption][:1]
    assert re.findall(r":material/\w+: ([\w. ]+)", words) == ["1 of 2 GPUs free", "3 waiting", "120.0 GB free"]
    assert words.startswith(":green[")


def test_a_full_disk_and_a_busy_machine_look_different(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = replace(GLANCE, room=Room(free=(), devices=("CPU",)), disk_free=900_000_000, disk_is_short=True)
    monkeypatch.setattr(header, "glance", lambda: busy)
    words = run(LINE).caption[0].value
    assert words.startswith(":blue[:material/memory: CPU busy]")
    assert words.endswith(":red[:material/hard_drive_2: 900.0 MB free]")


def test_what_failed_stays_above_the_page_until_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [Notice(tag="t", run_id=run_id, title=run_id, words="", bad=True) for run_id in ("a", "b")]
    links: list[tuple[str, dict[str, str]]] = []
    add = lambda page, *, label, query_params, **_: links.append((label, query_params))  # noqa: E731
    monkeypatch.setattr(header.st, "page_link", add)
    app = AppTest.from_string(LINE)
    app.session_state["notices-failed"] = told
    app.run()
    app.query_params["run"] = "a"
    app.session_state["notices-failed"] = told
    app.run()
    assert links == [(":red[2 failed runs]", {"show": "ended early"}), (":red[b]", {"run": "b"})]


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page alone has no navigation to link to."""
    monkeypatch.setattr(header.st, "page_link", lambda *_, **__: None)


def test_a_typed_name_is_called_what_it_is(no_links: None) -> None:
    assert any("Attribution only: anyone can type any name" in caption.value for caption in run(LINE).caption)


def test_who_signed_in_is_not_asked_for_a_name(no_links: None, members: Path) -> None:
    app = run(LINE, user={"is_logged_in": True, "email": "bea@example.com"})
    assert not app.text_input
    assert [button.label for button in app.button] == ["Sign out"]
    assert [line.value for line in app.caption][1:] == ["Your runs belong to **bea**. You act on your own runs."]


def test_a_proxy_user_has_no_button_to_sign_out(no_links: None) -> None:
    app = run(LINE, user={"email": "bea@example.com"})
    assert not app.button
    assert not app.text_input
