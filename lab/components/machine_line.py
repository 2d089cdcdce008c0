"""The machine in three words, at the foot of the sidebar of every page."""

from __future__ import annotations

import streamlit as st

from core.errors import LabError
from lab.services.machine import glance
from lab.text import size


def machine_line() -> None:
    """Device busy or free, runs that wait, free disk."""
    with st.sidebar:
        try:
            seen = glance()
        except LabError as error:
            st.error(str(error))
            return
        state = ":blue-badge[:material/memory: busy]" if seen.busy else ":green-badge[:material/memory: free]"
        waiting = f"{seen.waiting} waiting" if seen.waiting else "nobody waits"
        st.markdown(f"{state} {seen.device}")
        st.caption(f"{waiting} · {size(seen.disk_free)} disk free")
