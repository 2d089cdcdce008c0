"""Generate: what a model can generate, and how each image comes about step by step."""

from __future__ import annotations

import streamlit as st

from lab.frame.problems import problems_shown
from lab.frame.views import choose_view
from lab.generate import film_view, gallery, workbench

VIEWS = {"Create": workbench.show, "Gallery": gallery.show, "Film": film_view.show}


def page() -> None:
    """One view at a time; the choice stands beside the title."""
    with st.container(key="generate-title", horizontal=True):
        st.title("Generate", width="content")
        view = choose_view(VIEWS)
    st.html(workbench.STYLE)
    with problems_shown():
        view()


page()
