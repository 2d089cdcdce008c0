"""What the person has chosen: it lives in the URL, so that a colleague who gets the link sees the same."""

from __future__ import annotations

import streamlit as st

PAGES = {
    "overview": ("Overview", ":material/home:"),
    "train": ("Train", ":material/model_training:"),
    "runs": ("Runs", ":material/monitoring:"),
    "generate": ("Generate", ":material/brush:"),
}


def selected_run() -> str:
    """The run id in the URL, or ''."""
    return st.query_params.get("run", "")


def select_run(run_id: str) -> None:
    """Put a run id into the URL ('' takes it out)."""
    if run_id:
        st.query_params["run"] = run_id
    elif "run" in st.query_params:
        del st.query_params["run"]


def page_file(page: str) -> str:
    """A page of PAGES as Streamlit names it: relative to lab/Home.py."""
    return f"../pages/{page}.py"


def go_to(page: str, run_id: str = "") -> None:
    """Switch to a page of PAGES, with a run selected."""
    st.switch_page(page_file(page), query_params={"run": run_id} if run_id else {})
