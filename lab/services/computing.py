"""The process that computes for this server's screens: one question answered at once, or as work in the background."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import streamlit as st
from streamlit.runtime import Runtime, RuntimeState

from core.compute.process import COMMAND, Compute
from core.compute.question import Progress, Question, Request
from core.compute.questions import IMPORT_AHEAD
from core.errors import LabError
from core.jobs.queue_view import a_run_waits_for_drawings
from core.machine.memory import read_memory
from lab.services.background import Tell
from lab.services.runs import open_store
from lab.services.settings import current_site

Found = TypeVar("Found")
SHARE_OF_MEMORY = 0.5  # of what the machine has, that screens may compute with
LOOK_AT_QUEUE_S = 2.0
CANCEL_S = 0.05


@st.cache_resource(show_spinner=False)
def compute() -> Compute:
    """Of this server."""
    return Compute(
        budget_bytes=current_site().compute_memory_gb * 1e9 or SHARE_OF_MEMORY * read_memory().total,
        command=COMMAND,
        is_watched=a_browser_is_connected,
        is_wanted=a_run_waits,
    )


@st.cache_data(ttl=LOOK_AT_QUEUE_S, show_spinner=False)
def a_run_waits() -> bool:
    """Whether a run in the queue waits for a GPU that the process holds."""
    try:
        return a_run_waits_for_drawings(open_store())
    except (LabError, OSError):
        return False


def ask(question: Question[Request, Found], *request: Request.args, **named: Request.kwargs) -> Found:
    """The answer, waited for. Raises its LabError, or one that says how the process died."""
    return asked(question, *request, **named)(lambda stage, fraction, look=None: None, lambda: False)


def asked(
    question: Question[Request, Found], *request: Request.args, **named: Request.kwargs
) -> Callable[[Tell, Callable[[], bool]], Found]:
    """As work for `background.begin`: it passes progress on, and ends the computation when it is cancelled."""

    def task(tell: Tell, cancelled: Callable[[], bool]) -> Any:
        records = compute().remote(question, *request, **named)
        try:
            while True:
                if cancelled():
                    raise LabError("it was cancelled")
                if not records.is_ready(CANCEL_S):
                    continue
                record = next(records)
                if not isinstance(record, Progress):
                    return record.value
                tell(record.stage, record.fraction, record.look)
        finally:
            records.close()

    return task


def warm(question: Question[..., object]) -> None:
    """Start the process and let it import what answers that question; returns at once, whether that is possible or not:
    whoever asks is told."""
    with contextlib.suppress(OSError):
        compute().remote(IMPORT_AHEAD, question.module)


def a_browser_is_connected() -> bool:
    """Whether anybody looks at this server."""
    return Runtime.exists() and Runtime.instance().state is RuntimeState.ONE_OR_MORE_SESSIONS_CONNECTED
