"""What a view of the Latents page waits for: begun when it is looked at, stopped when somebody says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from lab.frame.task_progress import outcome
from lab.latents import vae_service
from lab.latents.vae_service import Chosen, Progress


def answer(chosen: Chosen, name: str, make: Callable[[Progress], Any], words: str) -> Any:
    """The result of `make(progress)` after its progress; None, and the way on, once somebody stopped it.

    Stopped is stopped: looking at the page again does not begin it anew. Raises the LabError it ended with.
    """
    stopped = vae_service.stopped(chosen, name)
    if stopped is None:
        return outcome(vae_service.begin(chosen, name, make), words)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"{words}: stopped.", width="content")
        st.button("Begin again", key=f"again-{name}", on_click=vae_service.forget, args=(stopped,))
    return None
