"""Images while they are generated: those so far, a bar, and a way out. Leaving the page leaves the work alone."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.comparison.grid import expected_evaluations
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
WIDTH = {True: 840, False: 280}  # of the images so far: where none stand yet, and in the column beside earlier ones
ME, PACE = "generate-me", "generate-pace"


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where progress, Cancel and the images so far are shown: places that are there before anything is generated."""

    progress: DeltaGenerator
    cancel: DeltaGenerator
    images: DeltaGenerator


def places_in_a_row() -> Places:
    """Places right here: a bar and Cancel in a row, the images so far below it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        progress, cancel = st.empty(), st.empty()
    return Places(progress=progress, cancel=cancel, images=st.empty())


def was_cancelled(recipe: Recipe, *, slot: str = "main") -> bool:
    """True when this person cancelled these images and has not asked for them again."""
    return bool(st.session_state.get(f"cancelled-{slot}") == generation_service.key_of(recipe))


def ask_again(slot: str = "main") -> None:
    """Forget what was cancelled."""
    st.session_state.pop(f"cancelled-{slot}", None)


def seconds_for(recipe: Recipe) -> float | None:
    """What these images will cost, by the fastest that this person has generated with that model; None before that."""
    return seconds_for_evaluations(recipe.source, _work_of(recipe))


def seconds_for_evaluations(source: str, evaluations: int) -> float | None:
    """As `seconds_for`, of so many evaluations of that model's network, one image each."""
    pace: float | None = st.session_state.get(PACE, {}).get(source)
    return None if pace is None else pace * evaluations


def _work_of(recipe: Recipe) -> int:
    """Images times network evaluations."""
    return len(recipe.labels) * expected_evaluations(recipe)


def drawn(recipe: Recipe, *, places: Places, slot: str = "main") -> Drawing | None:
    """The images, waited for; None when this person cancelled them. Raises a LabError.

    slot: a place on the page shows one generation at a time, so what it waited for before is cancelled unless somebody
    else waits for it too.
    """
    me = st.session_state.setdefault(ME, uuid.uuid4().hex)
    key = generation_service.key_of(recipe)
    before = st.session_state.get(f"waits-{slot}")
    if before != key:
        if before:
            generation_service.leave(before, me)
        st.session_state[f"waits-{slot}"] = key
    if was_cancelled(recipe, slot=slot):
        with places.images.container():
            _cancelled(slot)
        return None
    found = generation_service.kept(recipe)
    if found is None:
        began = time.monotonic()
        work = generation_service.begin(recipe, watcher=me)
        if not work.wait(SHOW_AFTER_S):
            _follow(work, recipe, slot, places)
        if work.problem:
            raise work.problem
        found = work.result
        paces = st.session_state.setdefault(PACE, {})
        pace = (time.monotonic() - began) / _work_of(recipe)
        paces[recipe.source] = min(pace, paces.get(recipe.source, pace))
    st.session_state[f"shown-{slot}"] = True
    return found


def _follow(work: Work, recipe: Recipe, slot: str, places: Places) -> None:
    order, columns, _, _ = side_by_side(recipe.labels)
    places.cancel.button("Cancel", key=f"cancel-{slot}", on_click=_cancel, args=(slot, work.key))
    seen, began = -1, time.monotonic()
    while True:
        look = work.look
        if isinstance(look, Look) and look.done != seen:
            seen = look.done
            zoom = WIDTH[f"shown-{slot}" not in st.session_state] // (columns * (look.images.shape[2] + 1))
            sheet = mosaic(look.images[order], columns=columns, zoom=max(1, zoom))
            places.images.image(png(sheet), alt=f"{len(order)} images while they are generated")
        places.progress.progress(work.fraction, text=_words(look, time.monotonic() - began))
        if work.wait(LOOK_S):
            break
    for place in (places.progress, places.cancel, places.images):
        place.empty()


def _words(look: Look | None, waited_s: float) -> str:
    if look is None:
        return "Loading the model" if waited_s < 10 else "Waiting for the model, or for other people's images"
    left = waited_s / max(1, look.done) * (look.total - look.done)
    return f"Step {look.done} of {look.total}" + (f", about {duration(left)} left" if left > 3 else "")


def _cancel(slot: str, key: str) -> None:
    generation_service.leave(key, st.session_state[ME])
    st.session_state[f"cancelled-{slot}"] = key


def _cancelled(slot: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("Cancelled. These images were not stored.")
        st.button("Generate them", key=f"again-{slot}", icon=":material/brush:", on_click=ask_again, args=(slot,))
