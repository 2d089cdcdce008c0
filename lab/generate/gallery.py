"""The view Gallery: images that people saved, with who, when and how; opened again or removed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import streamlit as st

from core.errors import LabError
from core.sampling.gallery import TITLE_LIMIT, Entry
from core.words import ago, count
from lab.frame.confirm import confirm_for_good
from lab.frame.problems import problems_shown
from lab.frame.state import who
from lab.generate import gallery_service
from lab.words import escaped, exactly, sentence

PAGE_SIZE, COLUMNS = 12, 3
CREATE = "Create"  # the first view of the page
OPENED = "kept"  # the query parameter of the saved images that the view Create opens


def show() -> None:
    """Newest first, a dozen at a time."""
    found, damaged = gallery_service.entries()
    if damaged:
        which = "1 entry is" if len(damaged) == 1 else f"{count(len(damaged))} entries are"
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/warning: {which} damaged and not shown.")
            if st.button("Remove damaged entries", key="gallery-damaged"):
                confirm_for_good("", "remove", partial(_remove_all, damaged), what="damaged entries", name="")
    if not found:
        st.markdown("The gallery is empty. Generate images, then choose *Save* and *Add to gallery*.")
        return
    pages = -(-len(found) // PAGE_SIZE)
    page = 1
    if pages > 1:
        page = int(st.number_input("Page", 1, pages, 1, key="gallery-page", bind="query-params", width=160))
    shown = found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    for start in range(0, len(shown), COLUMNS):
        for cell, entry in zip(st.columns(COLUMNS), shown[start : start + COLUMNS], strict=False):
            with cell.container(border=True):
                _card(entry)
    st.caption(
        f"{count(len(found))} saved. *Open* generates the images again from their recipe.",
        help="If the model is gone, the image stays. Downloaded PNGs contain their recipe too.",
    )


def _card(entry: Entry) -> None:
    try:
        picture, recipe = entry.picture(), entry.recipe()
    except LabError as error:
        st.caption(sentence(error))
        _remove_button(entry)
        return
    st.image(picture, alt=entry.title or "Saved images")
    st.markdown(f"**{escaped(entry.title or 'untitled', TITLE_LIMIT)}**")
    st.caption(
        f"{escaped(entry.owner, 60)}, {escaped(ago(entry.created_at))} · {escaped(entry.source_title, 60)}, step "
        f"{count(recipe.step)} · {escaped(recipe.sampler)}, {count(recipe.num_inference_steps)} steps, guidance "
        f"{recipe.guidance_scale:g}",
        help=exactly(entry.created_at) or None,
    )
    with st.container(horizontal=True):
        key = f"gallery-open-{entry.id}"
        st.button("Open", key=key, icon=":material/brush:", on_click=_open, args=(entry.id,))
        _remove_button(entry)


def _open(entry_id: str) -> None:
    """Before the page is drawn again: afterwards the choice of the view could not be changed."""
    st.session_state["view"] = CREATE
    st.query_params[OPENED] = entry_id


def _remove_button(entry: Entry) -> None:
    if st.button("Remove", key=f"gallery-remove-{entry.id}", icon=":material/delete:", type="tertiary"):
        confirm_for_good(
            entry.owner,
            "remove",
            lambda: gallery_service.remove(entry.id, who()),
            what="an entry",
            name=entry.title or "untitled",
        )


def keep_form(picture: Callable[[], bytes], *, source_title: str, device: str, key: str) -> None:
    """Add what is shown to the gallery, under a title. picture: makes the PNG with its recipe inside."""
    title = st.text_input("Title in the gallery", key=f"{key}-title", max_chars=TITLE_LIMIT, placeholder="optional")
    if st.button("Add to gallery", key=f"{key}-keep", icon=":material/bookmark_add:"):
        with problems_shown():
            gallery_service.keep(picture(), title=title, owner=who(), source_title=source_title, device=device)
            st.caption(f"Added as {escaped(who(), 60)}. Everyone on this server sees it in the gallery.")


def _remove_all(ids: list[str]) -> None:
    for entry_id in ids:
        gallery_service.remove(entry_id, who())
