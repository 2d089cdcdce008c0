"""Who is here, and what is selected: that lives in the URL, so that a colleague who gets the link sees the same."""

from __future__ import annotations

import urllib.parse

import streamlit as st

from core.runs.provenance import current_user
from lab.text import plain

PAGES = {
    "overview": ("Overview", ":material/home:"),
    "train": ("Train", ":material/model_training:"),
    "runs": ("Runs", ":material/monitoring:"),
    "generate": ("Generate", ":material/brush:"),
}
WHO_KEY = WHO_COOKIE = "lab-who"


def who() -> str:
    """Who starts and stops runs here: the login's name, else the one typed in the sidebar, else the server's user."""
    login = st.user.get("email") or st.user.get("name")
    typed = st.session_state.get(WHO_KEY) or remembered_name()
    return plain(str(login or typed), 60).strip() or current_user()


def remembered_name() -> str:
    """The name this browser remembers, or ''."""
    cookie = st.context.cookies.get(WHO_COOKIE, "")
    return urllib.parse.unquote(cookie) if isinstance(cookie, str) else ""


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
