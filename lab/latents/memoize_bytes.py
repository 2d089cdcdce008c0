"""Answers about a VAE that cost work: computed once, kept in memory for all sessions, within a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import streamlit as st

from core.bounded_cache import BoundedCache, bytes_of
from lab.services.background import Tell

MAX_BYTES = 64 * 2**20

Found = TypeVar("Found")


def memoize_bytes(key: tuple[Any, ...], make: Callable[[], Found]) -> Found:
    """What was made for that key, or made now; the newest 64 MiB are kept, for all sessions together."""
    return cast(Found, answers().get_or_make(key, make))


def kept(
    key: tuple[Any, ...], task: Callable[[Tell, Callable[[], bool]], Found]
) -> Callable[[Tell, Callable[[], bool]], Found]:
    """A task for `background.begin` whose result `memoize_bytes` keeps."""
    return lambda tell, cancelled: memoize_bytes(key, lambda: task(tell, cancelled))


@st.cache_resource(show_spinner=False)
def answers() -> BoundedCache[tuple[Any, ...], Any]:
    """Answers of all sessions; not st.cache_data, which cannot hold a function for progress."""
    return BoundedCache(max_bytes=MAX_BYTES, size_of=bytes_of)
