"""What a view of the Latents page waits for: begun when it is looked at, stopped when somebody says so."""

from __future__ import annotations

from typing import Any

import streamlit as st

from lab.frame.task_progress import outcome
from lab.latents import vae_service
from lab.latents.vae_service import Chosen
from lab.services.background import Task


def answer(chosen: Chosen, name: str, task: Task, words: str) -> Any:
    """The result of the task after its progress; None, and the way on, once somebody stopped it.

    Stopped is stopped: looking at the page again does not begin it anew. Raises the LabError it ended with.
    """
    stopped = vae_service.stopped(chosen, name)
    if stopped is None:
        return outcome(vae_service.begin(chosen, name, task), words)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"{words}: stopped.", width="content")
        st.button("Begin again", key=f"again-{name}", on_click=vae_service.forget, args=(stopped,))
    return None
