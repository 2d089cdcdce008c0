"""Errors as the screen tells them: one sentence in plain text, the rest of the page stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from core.errors import LabError
from lab.words import sentence


@contextmanager
def problems_shown() -> Iterator[None]:
    """A LabError inside becomes one sentence here; other errors pass."""
    try:
        yield
    except LabError as error:
        st.error(sentence(error), icon=":material/error:")
