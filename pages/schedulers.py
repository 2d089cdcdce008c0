"""Schedulers: how noise enters, and how each sampler takes it out."""

from __future__ import annotations

import streamlit as st

from lab.frame.problems import problems_shown
from lab.frame.views import choose_view
from lab.schedulers.sampler_comparison import sampler_comparison
from lab.schedulers.schedule_view import schedule_view
from lab.schedulers.self_test import self_test
from lab.schedulers.timestep_loss import timestep_loss

VIEWS = {
    "Schedules": schedule_view,
    "Samplers": sampler_comparison,
    "Loss by timestep": timestep_loss,
    "Self-test": self_test,
}


def page() -> None:
    """One view at a time."""
    st.title("Schedulers")
    choose_view(VIEWS)()


with problems_shown():
    page()
