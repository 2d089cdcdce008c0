"""A start button that is clicked twice starts once; and when a run that is queued now would start."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from lab.services.room import expected_start_s

PAGE = """
import streamlit as st
from lab.frame.start_button import press_token
st.text(press_token(st.button("go")))
"""


def test_clicks_in_a_row_share_a_token_and_a_form_drawn_anew_has_another() -> None:
    app = AppTest.from_string(PAGE, default_timeout=600).run()
    shown = app.text[0].value
    first = app.button[0].click().run().text[0].value
    second = app.button[0].click().run().text[0].value
    assert shown == first == second
    assert app.run().text[0].value not in (first, "")
    assert AppTest.from_string(PAGE, default_timeout=600).run().text[0].value != app.text[0].value


@pytest.mark.parametrize(
    ("ends", "waiting", "start"),
    [
        ([600.0], 0, 600.0),
        ([600.0, 900.0], 0, 600.0),  # two places, the first to become free
        ([900.0, 600.0, 1500.0], 1, 900.0),  # the one before it takes the first
        ([None], 0, None),
        ([600.0, None], 0, None),
        ([], 0, None),
        ([600.0], 3, None),
    ],
)
def test_it_starts_once_those_before_it_found_a_place(
    ends: list[float | None], waiting: int, start: float | None
) -> None:
    assert expected_start_s(ends, waiting) == start
