"""Latents: is this VAE good enough to diffuse in?"""

from __future__ import annotations

import streamlit as st

from core.compute.questions import LOOK_AT_LATENTS
from lab.frame.problems import problems_shown
from lab.frame.views import choose_view
from lab.latents import ceiling, channels, compare, decoder, map, pictures_view
from lab.latents.measuring import first_figures, measuring
from lab.latents.vae_picker import choose
from lab.latents.verdict import verdict_line
from lab.services.computing import warm

VIEWS = {
    "Images": pictures_view.show,
    "Channels": channels.show,
    "Map": map.show,
    "Decoder": decoder.show,
    "Ceiling": ceiling.show,
    "Compare": compare.show,
}


def page() -> None:
    """The verdict, then one view at a time: only what is looked at is computed.

    A view is a module with `show(chosen, found)`.
    At the first look at a VAE a hundred pictures answer at once, and the rest is measured while one reads.
    """
    warm(LOOK_AT_LATENTS)
    st.title("Latents")
    chosen = choose()
    if chosen is None:
        return
    found = first_figures(chosen)
    verdict_line(found)
    measuring(chosen, found)
    view = choose_view(VIEWS)
    with problems_shown():
        view(chosen, found)


with problems_shown():
    page()
