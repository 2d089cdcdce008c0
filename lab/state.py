"""Who is here, and what is selected: that lives in the URL, so that a colleague who gets the link sees the same."""

from __future__ import annotations

import urllib.parse

import streamlit as st

from core.runs.provenance import current_user
from core.runs.run import Run
from lab.text import plain

PAGES = {
    "overview": ("Overview", ":material/home:"),
    "train": ("Train", ":material/model_training:"),
    "runs": ("Runs", ":material/monitoring:"),
    "machine": ("Machine", ":material/memory:"),
    "schedulers": ("Schedulers", ":material/ssid_chart:"),
    "generate": ("Generate", ":material/brush:"),
}
WHO_KEY = WHO_COOKIE = "lab-who"
NAME_LIMIT = 60


def who() -> str:
    """Who starts and stops runs here: the login's name, else the one typed above, else the server's user.

    Where a login is configured but was not used, the name says so: it must not pass for somebody who did sign in.
    """
    if signed_in():
        return signed_in()
    name = typed_name() or current_user()
    return f"{name} (not signed in)" if login_expected() else name


def signed_in() -> str:
    """The name by which st.login or a trusted proxy header knows this person, or ''."""
    if st.user.get("is_logged_in") is False:
        return ""
    names = (st.user.get(key) for key in ("email", "name", "preferred_username", "user"))
    return next((plain(name, NAME_LIMIT).strip() for name in names if isinstance(name, str) and name.strip()), "")


def login_expected() -> bool:
    """True where st.login or server.trustedUserHeaders is configured: a typed name is then second best."""
    return "is_logged_in" in st.user or bool(st.get_option("server.trustedUserHeaders"))


def typed_name() -> str:
    """The name typed in this tab or remembered by this browser, or ''. Anyone can type any name."""
    return plain(str(st.session_state.get(WHO_KEY) or remembered_name()), NAME_LIMIT).strip()


def is_named() -> bool:
    """True when this person signed in or typed a name, here or earlier in this browser."""
    return bool(signed_in() or typed_name())


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


def open_comparison(run: Run) -> None:
    """Switch to a sampler comparison, given its job: it is shown with the U-Net run that it is about."""
    query = {"view": "Samplers", "run": next(iter(run.info.parents), ""), "comparison": run.id}
    st.switch_page(page_file("schedulers"), query_params=query)


def go_to(page: str, run_id: str = "") -> None:
    """Switch to a page of PAGES, with a run selected."""
    st.switch_page(page_file(page), query_params={"run": run_id} if run_id else {})
