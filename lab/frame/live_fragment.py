"""A live part of a page that is over some day: then the whole page is drawn again."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st


def live_until(is_over: Callable[[], bool], draw: Callable[[], None], *, every_s: float) -> None:
    """Draw it now and every so many seconds, and the whole page again as soon as it is over.

    Never while the page itself is being drawn: what was just clicked further down would be lost. So what was over in
    between is seen with the next tick.
    """
    with_the_page = True

    def part() -> None:
        nonlocal with_the_page
        if is_over() and not with_the_page:
            st.rerun()
        with_the_page = False
        draw()

    st.fragment(part, run_every=every_s)()
