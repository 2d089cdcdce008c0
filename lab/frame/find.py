"""Find a page, a run or a dataset by typing: a glyph in the header, and Ctrl-K on every page."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import streamlit as st

from core.errors import LabError
from lab.frame.live_fragment import live_part
from lab.frame.state import PAGES, page_file
from lab.services import datasets
from lab.services.runs import list_views
from lab.widgets.component import component
from lab.words import plain

KEY = "lab-find"
_ASKED = "lab-find-asked"
_component = component(__file__, "lab_find", Path(__file__).with_suffix(".html").read_text())


@dataclass(frozen=True, kw_only=True)
class Place:
    """What can be found. address: relative to the lab's own, as links have it. words: what is known about it."""

    kind: str
    title: str
    address: str
    words: str = ""


def places() -> Iterator[Place]:
    """Pages, then runs with the newest first, then datasets. Raises LabError where they cannot be listed."""
    for name, (title, _) in PAGES.items():
        yield Place(kind="page", title=title, address=f"./{'' if name == 'overview' else name}")
    for view in list_views():
        known = (view.kind, view.shown_state, view.data_name, plain(view.run.info.owner, 60), view.id)
        yield Place(
            kind="run", title=plain(view.title, 80), address=_address("runs", run=view.id), words=", ".join(known)
        )
    for each in datasets.listed():
        title = plain(each.entry.title if each.entry else each.name, 80)
        words = f"{each.name}, {'on this server' if each.is_here else 'not downloaded'}"
        yield Place(kind="dataset", title=title, address=_address("data", set=each.name), words=words)


@live_part()
def find() -> None:
    """The glyph and its window. The list travels when the window opens, and only then."""
    data: dict[str, object] = {}
    if st.session_state.pop(_ASKED, False):
        try:
            data = {"places": [asdict(place) for place in places()], "problem": ""}
        except LabError as error:
            data = {"places": [], "problem": plain(str(error), 400)}
    chosen = _component(
        data=data, key=KEY, width="content", height="content", on_asked_change=_ask, on_chosen_change=lambda: None
    ).chosen
    page, _, query = str(chosen or "").removeprefix("./").partition("?")
    if chosen and (page := page or "overview") in PAGES:
        st.switch_page(page_file(page), query_params=dict(urllib.parse.parse_qsl(query)))


def _ask() -> None:
    st.session_state[_ASKED] = True


def _address(page: str, **query: str) -> str:
    return f"./{page}?{urllib.parse.urlencode(query)}"
