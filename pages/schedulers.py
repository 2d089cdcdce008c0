"""Schedulers: how noise enters, and how each sampler takes it out."""

from __future__ import annotations

import streamlit as st

from lab.frame.problems import problems_shown

VIEWS = ("Schedules", "Samplers", "Loss by timestep", "Self-test")


def page() -> None:
    """One view at a time: only what is looked at is computed."""
    st.title("Schedulers")
    view = st.segmented_control(
        "View", VIEWS, default=VIEWS[0], required=True, key="view", bind="query-params", label_visibility="collapsed"
    )
    if view == "Samplers":
        from lab.schedulers.sampler_comparison import sampler_comparison

        sampler_comparison()
    elif view == "Loss by timestep":
        from lab.schedulers.timestep_loss import timestep_loss

        timestep_loss()
    elif view == "Self-test":
        from lab.schedulers.self_test import self_test

        self_test()
    else:
        from lab.schedulers.schedule_view import schedule_view

        schedule_view()


with problems_shown():
    page()
