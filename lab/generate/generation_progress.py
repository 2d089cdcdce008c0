"""A drawing while it is drawn: the pictures so far, a bar, and a way out. Leaving the page leaves it alone."""

from __future__ import annotations

import time
import uuid

import streamlit as st

from core.mosaic import mosaic
from core.sampling.drawing import Drawing
from core.sampling.recipe import Recipe
from core.words import duration
from lab.generate import generation_service
from lab.generate.generation_service import Look
from lab.services.background import Work
from lab.widgets.pictures import png
from lab.widgets.scrubber import side_by_side

LOOK_S = 0.05
SHOW_AFTER_S = 0.35  # a shorter wait needs no words
WIDTH = {True: 700, False: 320}  # of the pictures so far: where nothing stands yet, above an earlier drawing
ME = "generate-me"


def drawn(recipe: Recipe, *, slot: str = "main") -> Drawing | None:
    """The drawing, waited for; None when this person cancelled it, with what there is of it. Raises a LabError.

    slot: a place on the page shows one drawing at a time, so what it waited for before is cancelled unless somebody
    else waits for it too.
    """
    me = st.session_state.setdefault(ME, uuid.uuid4().hex)
    key = generation_service.key_of(recipe)
    before = st.session_state.get(f"waits-{slot}")
    if before != key:
        if before:
            generation_service.leave(before, me)
        st.session_state[f"waits-{slot}"] = key
    place = st.empty()
    if st.session_state.get(f"cancelled-{slot}") == key:
        with place.container():
            _cancelled(slot, key)
        return None
    found = generation_service.kept(recipe)
    if found is None:
        work = generation_service.begin(recipe, watcher=me)
        if not work.wait(SHOW_AFTER_S):
            with place.container():
                _follow(work, recipe, slot)
        if work.problem:
            raise work.problem
        found = work.result
    place.empty()
    st.session_state[f"shown-{slot}"] = True
    return found


def _follow(work: Work, recipe: Recipe, slot: str) -> None:
    order, columns, _, _ = side_by_side(recipe.labels)
    with st.container(horizontal=True, vertical_alignment="center"):
        bar = st.empty()
        st.button("Cancel", key=f"cancel-{slot}", icon=":material/close:", on_click=_cancel, args=(slot, work.key))
    picture = st.empty()
    seen, began = -1, time.monotonic()
    while True:
        look = work.look
        if isinstance(look, Look) and look.done != seen:
            seen = look.done
            zoom = WIDTH[f"shown-{slot}" not in st.session_state] // (columns * (look.images.shape[2] + 1))
            picture.image(png(mosaic(look.images[order], columns=columns, zoom=max(1, zoom))))
        bar.progress(work.fraction, text=_words(look, time.monotonic() - began))
        if work.wait(LOOK_S):
            return


def _words(look: Look | None, waited_s: float) -> str:
    if look is None:
        return "Loading the model" if waited_s < 10 else "Waiting for the model, or for others who draw"
    left = waited_s / max(1, look.done) * (look.total - look.done)
    return f"Denoising, {look.done} of {look.total}" + (f", about {duration(left)} left" if left > 3 else "")


def _cancel(slot: str, key: str) -> None:
    generation_service.leave(key, st.session_state[ME])
    st.session_state[f"cancelled-{slot}"] = key


def _cancelled(slot: str, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("Cancelled. Nothing of this drawing is kept.")
        st.button(
            "Draw it after all",
            key=f"again-{slot}",
            icon=":material/brush:",
            on_click=lambda: st.session_state.pop(f"cancelled-{slot}", None),
        )
