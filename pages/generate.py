"""Generate: what a model can draw, and how it gets there step by step."""

from __future__ import annotations

import streamlit as st

from lab.frame.problems import problems_shown
from lab.frame.views import choose_view
from lab.generate import film_view, gallery, workbench

VIEWS = {"Draw": workbench.show, "Gallery": gallery.show, "Film": film_view.show}


def page() -> None:
    """One view at a time."""
    st.title("Generate")
    view = choose_view(VIEWS)
    with problems_shown():
        view()


page()
