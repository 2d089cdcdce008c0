"""How many pictures the figures rest on, and the measuring of the others, which goes on when the page is left."""

from __future__ import annotations

import streamlit as st

from core.latent.overview import LatentOverview
from core.latent.subject import FIRST
from lab.components.work import outcome
from lab.services import latent_overviews
from lab.services.latents import Chosen
from lab.text import count, escaped, sentence

TICK_S = 1.0


def first_figures(chosen: Chosen) -> LatentOverview | None:
    """The best overview at hand, or the first look, made now; None where only the measuring of all brings one."""
    found = latent_overviews.best_known(chosen)
    if found is None:
        found = outcome(latent_overviews.begin_first_look(chosen), f"First look at {FIRST} pictures", can_stop=False)
    return found


def measuring(chosen: Chosen, found: LatentOverview | None) -> None:
    """One line while not all pictures are measured: what the figures rest on, how far the rest is, and a way out."""
    if found is None or not latent_overviews.is_whole(chosen, found):
        _line(chosen, 0 if found is None else len(found.labels))


@st.fragment(run_every=TICK_S)
def _line(chosen: Chosen, shown: int) -> None:
    work = latent_overviews.rest(chosen)
    better = latent_overviews.best_known(chosen)
    if better is not None and len(better.labels) > shown:
        st.rerun()
    total = count(latent_overviews.total(chosen))
    so_far = f"Measured on {count(shown)} of {total} pictures." if shown else f"{total} pictures are to be measured."
    cells = st.columns([6, 1], vertical_alignment="center")
    if not work.is_done:
        cells[0].progress(
            work.fraction, text=f"{so_far} The rest goes on, also when you leave this page: {escaped(work.stage)}"
        )
        cells[1].button("Stop", key="stop-measuring", on_click=work.cancel, width="stretch")
        return
    words = so_far if work.is_cancelled else f"{so_far} The rest could not be measured."
    if work.problem is not None and not work.is_cancelled:
        words += f" {sentence(work.problem)}"
    cells[0].markdown(words)
    if cells[1].button("Measure all", key="measure-all", width="stretch"):
        latent_overviews.measure_again(work)
        st.rerun()
