"""Keeps the browser on the page it was sent to.

A live part of every page (the machine's line, the notices) asks the server every few seconds to be drawn again, and
says which page it stands on. When that question meets a switch of page on its way, Streamlit answers it for the page
that was left, and the browser empties the new one. And for a link within a page Streamlit leaves the old address.
"""

from __future__ import annotations

import streamlit as st
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import get_script_run_ctx

_HERE = "right-page"


def remember_page(name: str) -> None:
    """Note the page that is drawn now: its name in PAGES, and what is selected on it.

    Another selection than a moment ago is told to the browser, which may have asked for it by a link within the page.
    """
    context = get_script_run_ctx()
    if context is not None:
        before, _, selected = st.session_state.get(_HERE, ("", "", {}))
        if before == name and selected != dict(st.query_params):
            message = ForwardMsg()
            message.page_info_changed.query_string = context.query_string
            context.enqueue(message)
        st.session_state[_HERE] = (name, context.page_script_hash, dict(st.query_params))


def back_to_right_page() -> None:
    """Inside a live part: when it was asked for on a page that was left meanwhile, go to the right one again."""
    from lab.frame.state import page_file

    context = get_script_run_ctx()
    name, known, selected = st.session_state.get(_HERE, ("", "", {}))
    if context is not None and name and context.page_script_hash != known:
        st.switch_page(page_file(name), query_params=selected)
