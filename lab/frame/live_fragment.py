"""Parts of a page that the browser asks for by themselves: live ones, and windows.

Home.py does not run then, so each asks again who may enter: an open tab goes on asking.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Literal, ParamSpec

import streamlit as st

from lab.frame.gate import why_not

P = ParamSpec("P")
_WINDOW = "live-window-open"


def live_part(*, every_s: float | None = None) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """`st.fragment` for members: drawn again every so many seconds, or only when something in it is used."""
    return lambda part: st.fragment(_for_members(part), run_every=every_s)


def window(
    title: str,
    part: Callable[P, None],
    *,
    on_dismiss: Callable[[], None],
    width: Literal["small", "medium", "large"] = "small",
) -> Callable[P, None]:
    """`st.dialog` for members: opens a window over the page with `part` in it.

    While it is open, `page_again` leaves the page alone: what is being typed in it would be lost.
    """
    st.session_state[_WINDOW] = True
    return st.dialog(title, width=width, on_dismiss=on_dismiss)(_for_members(part))


def begin_page() -> None:
    """No window is open yet. Home.py says it whenever it draws the whole page, which opens them again."""
    st.session_state.pop(_WINDOW, None)


def page_again() -> None:
    """From a live part: draw the whole page again, as what it shows has changed; once a window over it has closed."""
    if not st.session_state.get(_WINDOW):
        st.rerun()


def live_until(is_over: Callable[[], bool], draw: Callable[[], None], *, every_s: float) -> None:
    """Draw it now and every so many seconds, and the whole page again as soon as it is over.

    Never while the page itself is being drawn: what was just clicked further down would be lost. So what was over in
    between is seen with the next tick.
    """
    with_the_page = True

    def part() -> None:
        nonlocal with_the_page
        if is_over() and not with_the_page:
            page_again()
        with_the_page = False
        draw()

    live_part(every_s=every_s)(part)()


def _for_members(part: Callable[P, None]) -> Callable[P, None]:
    """`part`; for whoever is no member any more the whole page begins again, and Home.py says why."""

    @wraps(part)
    def asked(*args: P.args, **kwargs: P.kwargs) -> None:
        if why_not():
            st.rerun()
        part(*args, **kwargs)

    return asked
