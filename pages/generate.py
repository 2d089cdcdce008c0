"""Generate: what a model can draw, and how it gets there step by step."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import streamlit as st

from lab.frame.problems import problems_shown

VIEWS: Mapping[str, str] = {  # a view is a module with `show()`
    "Draw": "lab.generate.workbench",
    "Gallery": "lab.generate.gallery",
    "Film": "lab.generate.film_view",
}


def page() -> None:
    """One view at a time: only what is looked at is computed."""
    st.title("Generate")
    view = st.segmented_control(
        "View",
        list(VIEWS),
        default=next(iter(VIEWS)),
        required=True,
        key="view",
        bind="query-params",
        label_visibility="collapsed",
    )
    with problems_shown():
        importlib.import_module(VIEWS[str(view)]).show()


page()
