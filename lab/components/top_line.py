"""What stands above every page, on the right: the machine in three figures, and who is here."""

from __future__ import annotations

import urllib.parse

import streamlit as st

from core.runs.provenance import current_user
from lab.components.problems import problems_shown
from lab.services.machine import glance
from lab.state import WHO_COOKIE, WHO_KEY, remembered_name, who
from lab.text import escaped, size

_remember = st.components.v2.component(
    "lab_who",
    html="<span></span>",
    js="""export default function ({ data }) {
  if (data.who) document.cookie = `${data.cookie}=${data.who}; path=/; max-age=31536000; samesite=strict`
}""",
)


@st.fragment(run_every=5)
def top_line() -> None:
    """Device busy or free, runs that wait, free disk; the name under which things are started."""
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="small"):
        with problems_shown():
            seen = glance()
            state = ":blue-badge[:material/memory: busy]" if seen.busy else ":green-badge[:material/memory: free]"
            waiting = f"{seen.waiting} waiting · " if seen.waiting else ""
            words = f":small[{seen.device}] {state} :gray[:small[{waiting}{size(seen.disk_free)} free]]"
            st.markdown(words, width="content", help="This machine, runs that wait for it, and disk space for runs")
        with st.popover(escaped(who(), 24), icon=":material/person:", type="tertiary"):
            st.text_input(
                "Your name",
                value=who(),
                key=WHO_KEY,
                max_chars=60,
                persist_state="session",
                help="Shown beside the runs you start and stop. This browser remembers it.",
            )
    typed = st.session_state.get(WHO_KEY) or ""
    if typed and typed not in (remembered_name(), current_user()):
        _remember(data={"who": urllib.parse.quote(typed, safe=""), "cookie": WHO_COOKIE}, key="remember-who", height=0)
