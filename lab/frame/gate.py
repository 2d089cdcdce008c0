"""Logged in is not let in: where people sign in, only members of the lab see more than one sentence."""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.config.load import read_site
from lab.frame.door import admit, dismiss
from lab.frame.state import login_expected, signed_in
from lab.words import escaped


def why_not() -> str:
    """Why this person may not enter, as Markdown in one sentence; '' for those who may."""
    site, problem = read_site()
    with_login = login_expected()
    if not (with_login or site.has_login):
        return ""
    if problem:
        return f"Nobody can enter until config.yaml is right: {escaped(problem, 400)}"
    login = signed_in()
    if not login and st.user.get("is_logged_in"):
        return "Your provider does not vouch for your mail address: verify it there, and [sign in again](auth/logout)."
    if not login:
        return "Sign in to enter this lab."
    needs_member = bool(site.members) or "is_logged_in" in st.user
    if not needs_member or site.admits(login):
        return ""
    again = ", or [sign in with another account](auth/logout)" if st.user.get("is_logged_in") else ""
    return f"**{escaped(login, 254)}** is not a member of this lab: ask one of its admins to add you{again}."


def let_in() -> bool:
    """True for those who may enter. Everybody else sees why not, and a button where signing in would help."""
    words, context = why_not(), get_script_run_ctx()
    if context is not None:
        (dismiss if words else admit)(context.session_id)
    if not words:
        return True
    st.markdown(words)
    if st.user.get("is_logged_in") is False:
        st.button("Sign in", type="primary", icon=":material/login:", on_click=st.login)
    return False
