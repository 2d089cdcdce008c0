"""The title of the browser's tab: what is shown, then the product."""

from __future__ import annotations

import streamlit as st

from lab.words import plain


def tab_title(words: str) -> None:
    """'Runs · Lab', or 'Run first try · 62 % · Lab'; the last call of a drawing holds. words: not escaped."""
    st.set_page_config(page_title=f"{plain(words, 80)} · Lab")
