"""Who is here, and what is selected: that lives in the URL, so that a colleague who gets the link sees the same."""

from __future__ import annotations

import contextlib
import math
import urllib.parse

import streamlit as st
from streamlit.errors import StreamlitAPIException

from core.config.load import read_site
from core.config.site import LONGEST_LOGIN, as_compared
from core.runs.provenance import current_user
from core.runs.run import Run
from lab.words import plain

PAGES = {
    "overview": ("Overview", ":material/home:"),
    "train": ("Train", ":material/model_training:"),
    "runs": ("Runs", ":material/monitoring:"),
    "machine": ("Machine", ":material/memory:"),
    "data": ("Data", ":material/photo_library:"),
    "schedulers": ("Schedulers", ":material/ssid_chart:"),
    "latents": ("Latents", ":material/blur_on:"),
    "evaluate": ("Evaluate", ":material/grading:"),
    "compare": ("Compare", ":material/compare_arrows:"),
    "generate": ("Generate", ":material/brush:"),
}
GROUPS = {
    "Work": ("overview", "train", "runs", "generate"),
    "Understand": ("data", "schedulers", "latents", "evaluate", "compare"),
}  # and Machine, over the glyphs of the machine
PROXY_KEYS = ("email", "name", "preferred_username", "user")  # of server.trustedUserHeaders
WHO_KEY = WHO_COOKIE = "lab-who"
NAME_LIMIT = 60


def who() -> str:
    """Who starts and stops runs here: the account of the login, else the name typed above, else the server's user.

    Where a login is configured but was not used, the name says so: it must not pass for somebody who did sign in.
    """
    if signed_in():
        return read_site()[0].account_of(signed_in())
    name = typed_name() or current_user()
    return f"{name} (not signed in)" if login_expected() else name


def signed_in() -> str:
    """The login of this person, or ''; mail addresses in lower case, and never shortened into somebody else's.

    From st.login only what the provider vouches for: the mail address unless it says it is not verified, else its own
    identifier, never a name that people choose for themselves. From a trusted proxy header what it says.
    """
    if "is_logged_in" in st.user:
        if not st.user.get("is_logged_in"):
            return ""
        mail = st.user.get("email")
        login: object = mail or st.user.get("sub")
        if mail and str(st.user.get("email_verified", True)).lower() != "true":
            return ""
    else:
        login = next(filter(None, (st.user.get(key) for key in PROXY_KEYS)), "")
    login = login.strip() if isinstance(login, str) else ""
    if len(login) > LONGEST_LOGIN or not login.isprintable():
        return ""
    return as_compared(login)


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


def forget_endless_numbers() -> None:
    """Take numbers like 1e999 out of the URL before a widget reads it: Streamlit's own reading raises OverflowError.

    The page begins again without them, once: a widget takes its first value from the URL that the run began with.
    """
    endless = [name for name in st.query_params if any(map(_is_endless, st.query_params.get_all(name)))]
    if endless and not st.session_state.get("endless-told"):
        st.session_state["endless-told"] = True
        for name in endless:
            with contextlib.suppress(StreamlitAPIException):  # of a widget that stands already, and has read it
                del st.query_params[name]
        st.rerun()
    st.session_state["endless-told"] = False


def _is_endless(text: str) -> bool:
    try:
        return math.isinf(float(text))
    except ValueError:
        return False


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
