"""What a run generated or reconstructed while it trained: the newest, any step large, and how they came about."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.words import count
from lab.frame.state import page_file
from lab.services import runs
from lab.services.runs import RunView
from lab.widgets.pictures import show_pictures

MOST_PREVIEWS = 7
LARGE_PX = 960
NEWEST = "newest"


def newest_samples(view: RunView) -> None:
    """The last preview that can be read, beside the loss."""
    preview = runs.newest_preview(view.run)
    st.markdown(f"**{_noun(view)}**" + (f" :gray[step {count(preview.step)}]" if preview else ""))
    if preview is None:
        st.caption("They appear with the first preview.")
        return
    _images(preview.inputs, preview.images, most=10, columns=5, width=430)
    if view.run.kind.generates:
        st.caption("Always the same classes from the same noise.")


def how_samples_came(view: RunView) -> None:
    """A row of images per step, from the first preview to the newest; the same seeds throughout."""
    steps = runs.preview_steps(view.run)
    if len(steps) < 2:
        return
    st.subheader(f"How the {_noun(view).split()[-1]} came about")
    shown = [steps[place] for place in np.unique(np.linspace(0, len(steps) - 1, MOST_PREVIEWS).round().astype(int))]
    for step in shown:
        preview = runs.read_preview(view.run, step)
        _strip(f"step {count(step)}", preview.images if preview else None)
    query = {"view": "Film", "run": view.id}
    st.page_link(page_file("generate"), label="Watch the film", icon=":material/movie:", query_params=query)


def run_samples(view: RunView) -> None:
    """Any step, large."""
    steps = runs.preview_steps(view.run)
    if not steps:
        st.caption("They appear with the first preview.")
        return
    newest = steps[-1]
    step = newest
    if len(steps) > 1:
        options: list[int | str] = [*steps, NEWEST]
        key = f"samples-step-{view.id}"
        chosen = st.select_slider("Training step", options, value=NEWEST, format_func=_step_words, key=key)
        step = chosen if isinstance(chosen, int) else newest
    preview = runs.read_preview(view.run, step)
    if preview is None:
        st.caption("This preview cannot be read.")
        return
    st.markdown(f"**{_noun(view)}** :gray[step {count(step)}]")
    _images(preview.inputs, preview.images, most=None, columns=min(10, len(preview.images)), width=LARGE_PX)


def _images(inputs: np.ndarray | None, images: np.ndarray, *, most: int | None, columns: int, width: int) -> None:
    """At most so many images (N, H, W, C), under the held-out ones that they reconstruct, if any."""
    if inputs is not None:
        st.caption("Held-out images")
        show_pictures(inputs[:most], columns=columns, width=width)
        st.caption("Reconstructions")
    show_pictures(images[:most], columns=columns, width=width)


def _step_words(step: int | str) -> str:
    return step if isinstance(step, str) else f"step {count(step)}"


def _noun(view: RunView) -> str:
    return "Newest samples" if view.run.kind.generates else "Newest reconstructions"


def _strip(words: str, images: np.ndarray | None) -> None:
    label, row = st.columns([1, 9], vertical_alignment="center", gap="small")
    label.caption(words)
    with row:
        if images is None:
            st.caption("This preview cannot be read.")
        else:
            show_pictures(images[:10], columns=min(10, len(images)), width=660)
