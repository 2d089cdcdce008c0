"""How many pictures the figures rest on, and the measuring of the others, which goes on when the page is left."""

from __future__ import annotations

import streamlit as st

from core.latent.inspection.overview import LatentOverview
from core.latent.inspection.vae_source import FIRST
from core.words import count
from lab.frame.live_fragment import live_part
from lab.frame.task_progress import outcome
from lab.latents import overview_service
from lab.latents.vae_service import Chosen
from lab.words import escaped, sentence

TICK_S = 1.0


def first_figures(chosen: Chosen) -> LatentOverview:
    """The best overview at hand, or the first look, made now. Raises a LabError."""
    found = overview_service.best_known(chosen)
    if found is None:
        found = outcome(overview_service.begin_first_look(chosen), f"First look at {FIRST} images", can_stop=False)
    assert isinstance(found, LatentOverview)
    return found


def measuring(chosen: Chosen, found: LatentOverview) -> None:
    """One line while not all pictures are measured: what the figures rest on, how far the rest is, and a way out."""
    if not overview_service.is_whole(chosen, found):
        _line(chosen, len(found.labels))


@live_part(every_s=TICK_S)
def _line(chosen: Chosen, shown: int) -> None:
    work = overview_service.rest(chosen)
    better = overview_service.best_known(chosen)
    if better is not None and len(better.labels) > shown:
        st.rerun()
    so_far = f"Measured on {count(shown)} of {count(overview_service.total(chosen))} images."
    cells = st.columns([6, 1], vertical_alignment="center")
    if not work.is_done:
        cells[0].progress(
            work.fraction, text=f"{so_far} The rest continues, also when you leave this page: {escaped(work.stage)}"
        )
        cells[1].button("Stop", key="stop-measuring", on_click=work.cancel, width="stretch")
        return
    words = so_far if work.is_cancelled else f"{so_far} The rest could not be measured."
    if work.problem is not None and not work.is_cancelled:
        words += f" {sentence(work.problem)}"
    cells[0].markdown(words)
    if cells[1].button("Measure all", key="measure-all", width="stretch"):
        overview_service.measure_again(work)
        st.rerun()
