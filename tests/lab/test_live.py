"""A live part never draws the page again while the page is being drawn: a click would be lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.pages.conftest import ROOT


def page() -> None:
    import streamlit as st

    from lab.frame.live_fragment import live_until

    def is_over() -> bool:
        st.session_state["goes on"] = False
        return True

    if st.session_state.get("goes on"):
        live_until(is_over, lambda: None, every_s=60)
    if st.button("Keep"):
        st.session_state["kept"] = True


def test_a_click_is_heard_although_what_is_live_ended_just_now() -> None:
    app = AppTest.from_function(page, default_timeout=600).run()
    app.session_state["goes on"] = True
    app.button[0].click().run()
    assert not app.exception
    assert "kept" in app.session_state


def shut_out() -> None:
    import os
    from pathlib import Path

    import streamlit as st

    from lab.frame.gate import let_in
    from lab.frame.live_fragment import live_part, live_until, window

    def secret() -> None:
        st.text("secret")

    if let_in():
        Path(os.environ["LAB_PROJECT"], "config.yaml").write_text("site: {members: [ben@lab.example]}")
        if st.session_state["kind"] == "live":
            live_part(every_s=60)(secret)()
        elif st.session_state["kind"] == "used":
            live_part()(secret)()
        elif st.session_state["kind"] == "window":
            window("Title", secret, on_dismiss=lambda: None)()
        else:
            live_until(lambda: False, secret, every_s=60)


@pytest.mark.parametrize("kind", ["live", "used", "window", "until"])
def test_what_an_open_tab_asks_for_is_for_members_only(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_PROJECT", str(tmp_path))
    (tmp_path / "config.yaml").write_text("site: {members: [ana@lab.example]}")
    app = AppTest.from_function(shut_out, default_timeout=600)
    app.user = {"is_logged_in": True, "email": "ana@lab.example"}
    app.session_state["kind"] = kind
    app.run()
    assert not app.exception
    assert not app.text
    assert "is not a member" in app.markdown[0].value


def test_every_part_that_a_browser_asks_for_by_itself_is_for_members() -> None:
    """Only live_fragment.py makes such parts; it asks who may enter."""
    sources = [path for room in ("lab", "pages") for path in (ROOT / room).rglob("*.py")]
    makers = {path.name for path in sources if re.search(r"st\.(experimental_)?(fragment|dialog)\b", path.read_text())}
    assert makers == {"live_fragment.py"}


def test_no_callback_begins_anything() -> None:
    """Streamlit runs callbacks before Home.py or a live part asks who may enter: they select, forget and cancel."""
    sources = [path.read_text() for room in ("lab", "pages") for path in (ROOT / room).rglob("*.py")]
    called = {name for source in sources for name in re.findall(r"on_click=([\w.]+)", source)}
    assert called <= {
        *("st.login", "st.logout", "lambda", "work.cancel", "_cancel"),
        *("vae_service.forget", "_forget", "_leave_kept", "_open", "open_tab", "forget_run", "leave_grid"),
        *("st.session_state.update", "_add_more", "_agree", "_next_seed", "_generate", "ask_again", "take_it_so"),
    }
