"""What a browser can only show after reading megabytes of scripts (charts, tables) comes after the first words.

A window that has just been opened reads Streamlit's scripts on the machine that may also be the server: a chart that
comes with the first words keeps them waiting until its own scripts are read.
"""

from __future__ import annotations

import streamlit as st

from lab.frame.live_fragment import live_part

FIRST_WORDS_S = 0.2


def later(key: str, height: int) -> bool:
    """True where this session has seen its first words of the page `key`; until then an empty place is kept.

    height: of the place, in pixels. Once the browser has the first words, it asks for the page again by itself.
    """
    seen = f"first-words-of-{key}"
    if st.session_state.get(seen):
        return True
    st.session_state.setdefault(seen, False)
    _ask_again(seen, height)
    return False


@live_part(every_s=FIRST_WORDS_S)
def _ask_again(seen: str, height: int) -> None:
    """Drawn with the page at first, and by the browser's own clock after that."""
    drawn = f"{seen}-drawn"
    if st.session_state.get(drawn):
        st.session_state[seen] = True
        st.rerun()
    st.session_state[drawn] = True
    st.container(height=height, border=False)
