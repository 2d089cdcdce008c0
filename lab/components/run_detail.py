"""One run in full: headline, live curves whose zoom survives a refresh, previews over time, and everything else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import streamlit as st

from core.errors import LabError
from lab.components.pictures import show_pictures
from lab.components.problems import problems_shown
from lab.components.run_card import headline, progress
from lab.components.run_curves import run_curves
from lab.components.run_records import run_records
from lab.services import runs
from lab.services.runs import RunView
from lab.state import go_to, select_run, who
from lab.text import count, escaped, sentence

MOST_PREVIEWS = 7


def run_detail(run_id: str) -> None:
    """The page of one run. Raises RunNotFound for an unknown id."""
    view = runs.view_of(run_id)
    if st.button("All runs", icon=":material/arrow_back:", type="tertiary"):
        select_run("")
        st.rerun()
    st.title(escaped(view.title))
    live = view.is_active
    st.fragment(_head, run_every=1.0 if live else None)(view.id, live)
    st.fragment(run_curves, run_every=3.0 if live else None)(view.id)
    st.fragment(_previews, run_every=5.0 if live else None)(view.id)
    run_records(view)


def _head(run_id: str, was_active: bool) -> None:
    with problems_shown():
        view = runs.view_of(run_id)
        if view.is_active != was_active:
            st.rerun()
        left, right = st.columns([3, 2], vertical_alignment="center")
        with left:
            headline(view)
        with right:
            _buttons(view)
        progress(view)
        _relatives(view)


def _relatives(view: RunView) -> None:
    """Links to the VAE run of a U-Net run, and to the U-Net runs of a VAE run."""
    parents = [(parent, "Its VAE") for parent in view.run.info.parents]
    links = parents + [(child.id, "Its U-Net") for child in runs.children(view.id)[:3]]
    if links:
        with st.container(horizontal=True):
            for other, word in links:
                try:
                    title = runs.view_of(other).title
                except LabError:
                    st.caption(f"{word}: {escaped(other)} (deleted)")
                    continue
                if st.button(
                    f"{word}: {escaped(title, 40)}", type="tertiary", icon=":material/link:", key=f"to-{other}"
                ):
                    go_to("runs", other)


def _buttons(view: RunView) -> None:
    with st.container(horizontal=True, horizontal_alignment="right"):
        if view.is_active:
            stopping = view.state == "stopping"
            if st.button("Stop", icon=":material/stop:", disabled=stopping, help="Saves a checkpoint first"):
                _act(lambda: runs.request_stop(view.id, who()), "Asked it to save and stop")
            if stopping and st.button("Kill", icon=":material/bolt:", help="Ends it at once, without saving"):
                _act(lambda: runs.force_stop(view.id, who()), "Killed")
            return
        if view.state != "finished" and st.button("Resume", icon=":material/play_arrow:", type="primary"):
            _act(lambda: runs.resume(view.id, who()), "Going on from its last checkpoint")
        can_draw = view.run.info.kind == "unet" and bool(runs.checkpoints(view.run))
        if can_draw and st.button(
            "Generate", icon=":material/brush:", type="primary" if view.state == "finished" else "secondary"
        ):
            go_to("generate", view.id)
        with st.popover("Delete", icon=":material/delete:"):
            st.markdown(
                f"Delete **{escaped(view.title)}** with its checkpoints, previews and log? It cannot be undone."
            )
            if st.button("Delete it for good", type="primary"):
                _delete(view)


def _delete(view: RunView) -> None:
    try:
        runs.delete(view.id)
    except LabError as error:
        st.error(sentence(error))
    else:
        select_run("")
        st.rerun()


def _act(action: Callable[[], None], words: str) -> None:
    try:
        action()
    except LabError as error:
        st.error(sentence(error))
    else:
        st.toast(words)
        st.rerun()


def _previews(run_id: str) -> None:
    """What it drew or reconstructed, a row a step from top to bottom; the same seeds throughout."""
    with problems_shown():
        view = runs.view_of(run_id)
        steps = runs.preview_steps(view.run)
        if not steps:
            return
        st.subheader("How its pictures came about")
        last = runs.read_preview(view.run, steps[-1])
        if last is not None and last.inputs is not None:
            _strip("held-out pictures", last.inputs)
        shown = [steps[place] for place in np.unique(np.linspace(0, len(steps) - 1, MOST_PREVIEWS).round().astype(int))]
        for step in shown:
            preview = runs.read_preview(view.run, step)
            _strip(f"step {count(step)}", preview.images if preview else None)
        if view.run.info.kind == "unet":
            st.caption("The same classes from the same noise at every step of the training.")


def _strip(words: str, images: np.ndarray | None) -> None:
    label, row = st.columns([1, 6], vertical_alignment="center", gap="small")
    label.caption(words)
    with row:
        if images is None:
            st.caption("This preview cannot be read.")
        else:
            show_pictures(images[:10], columns=min(10, len(images)), width=660)
