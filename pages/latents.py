"""Latents: is this VAE good enough to diffuse in?"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import streamlit as st

from lab.frame.problems import problems_shown
from lab.latents.measuring import first_figures, measuring
from lab.latents.vae_picker import choose
from lab.latents.verdict import verdict_line

VIEWS: Mapping[str, str] = {
    "Pictures": "lab.latents.pictures_view",
    "Channels": "lab.latents.channels",
    "Map": "lab.latents.map",
    "Decoder": "lab.latents.decoder",
    "Ceiling": "lab.latents.ceiling",
    "Compare": "lab.latents.compare",
}


def page() -> None:
    """The verdict, then one view at a time: only what is looked at is computed.

    A view is a module with `show(chosen, found)`.
    At the first look at a VAE a hundred pictures answer at once, and the rest is measured while one reads.
    """
    st.title("Latents")
    chosen = choose()
    if chosen is None:
        return
    found = first_figures(chosen)
    if found is not None:
        verdict_line(found)
    measuring(chosen, found)
    if found is None:
        return
    view = st.segmented_control(
        "View",
        list(VIEWS),
        default=next(iter(VIEWS)),
        required=True,
        key="view",
        bind="query-params",
        label_visibility="collapsed",
    )
    with problems_shown():
        importlib.import_module(VIEWS[str(view)]).show(chosen, found)


with problems_shown():
    page()
