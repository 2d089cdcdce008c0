"""A live part never draws the page again while the page is being drawn: a click would be lost."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


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
