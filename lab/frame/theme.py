"""Figures get their colours on the server: it must hear when the browser turns light or dark."""

from __future__ import annotations

import streamlit as st

_watch = st.components.v2.component(
    "lab_theme",
    html="<span></span>",
    js="""let told
export default function ({ data, setStateValue }) {
  const app = document.querySelector('.stApp')
  if (!app) return
  const look = () => {
    const scheme = getComputedStyle(app).colorScheme
    if (scheme !== (told ?? data.known)) setStateValue('scheme', (told = scheme))
  }
  const observer = new MutationObserver(look)
  observer.observe(app, { attributes: true, attributeFilter: ['class', 'style'] })
  look()
  return () => observer.disconnect()
}""",
)


def follow_theme() -> None:
    """Draw the page again when the browser's theme changes; Streamlit alone would keep the old colours."""
    _watch(data={"known": st.context.theme.type}, key="lab-theme", height=0, on_scheme_change=lambda: None)
