"""Overview: what is going on, and what to do next."""

from __future__ import annotations

import streamlit as st

from core.errors import LabError
from lab.components.pictures import show_pictures
from lab.components.run_card import live_card
from lab.services.runs import list_views, newest_preview, sentence
from lab.services.training import settings_for, start
from lab.state import go_to, page_file
from lab.text import KIND_NAMES, ago, count, duration, escaped, state_badge


def empty_lab() -> None:
    """Three steps from nothing to digits, and one button."""
    st.title("From nothing to digits")
    st.markdown("This lab has no runs yet. Three steps, and one button for all of them:")
    for column, (title, words) in zip(
        st.columns(3),
        (
            ("1 · Train a VAE", "It learns to squeeze a 32 × 32 picture into a small 8 × 8 latent and back."),
            ("2 · Train a U-Net", "It learns to take noise out of those latents, for the class you ask for."),
            ("3 · Generate", "Start from pure noise, watch a digit appear, and scrub through every step."),
        ),
        strict=True,
    ):
        with column:
            st.markdown(f"##### {title}")
            st.markdown(words)
    st.write("")
    left, right = st.columns([1, 3], vertical_alignment="center")
    if left.button("Train both on MNIST", type="primary", width="stretch"):
        try:
            with st.spinner("Preparing the data set"):
                ids = start("all", settings_for("quick", {}), preset="quick", name="First light")
        except LabError as error:
            st.error(sentence(error))
        else:
            go_to("runs", ids[0])
    right.caption(
        "The preset *quick*: about three minutes on two CPU cores, in the background. You may close this tab."
    )
    st.page_link(page_file("train"), label="Choose the settings yourself", icon=":material/tune:")


@st.fragment(run_every=2)
def running_now() -> None:
    """Live cards; when the last run ends, the whole page is drawn again."""
    active = sorted((view for view in list_views() if view.is_active), key=lambda view: view.state == "queued")
    if not active:
        st.rerun()
    for view in active[:6]:
        with st.container(border=True):
            live_card(view)
            if st.button("Open", key=f"open-{view.id}", icon=":material/open_in_full:"):
                go_to("runs", view.id)


def results() -> None:
    """The newest digits, and what ended lately."""
    ended = [view for view in list_views() if not view.is_active]
    drawn = next((view for view in ended if view.run.info.kind == "unet" and view.state == "finished"), None)
    if drawn is not None:
        preview = newest_preview(drawn.run)
        if preview is not None:
            st.subheader("Latest pictures")
            show_pictures(preview.images[:20], columns=10, width=660)
            st.caption(f"{escaped(drawn.title)}, step {count(preview.step)}, {ago(drawn.run.info.created_at)}")
            if st.button("Draw more with it", type="primary", icon=":material/brush:"):
                go_to("generate", drawn.id)
    if ended:
        st.subheader("Ended lately")
        for view in ended[:6]:
            name, state, facts, button = st.columns([4, 2, 4, 1], vertical_alignment="center")
            kind = f"{KIND_NAMES[view.run.info.kind]}, {view.run.settings.data.name}"
            name.markdown(f"**{escaped(view.title)}**  \n:gray[:small[{kind}]]")
            state.markdown(state_badge(view.state))
            facts.caption(
                f"step {count(view.status.step)} of {count(view.status.steps_total)} · "
                f"trained {duration(view.status.elapsed_s)} · {ago(view.status.heartbeat_at)}"
            )
            if button.button("Open", key=f"ended-{view.id}"):
                go_to("runs", view.id)


try:
    views = list_views()
    if not views:
        empty_lab()
    else:
        st.title("Overview")
        if any(view.is_active for view in views):
            st.subheader("Running now")
            running_now()
        else:
            left, right = st.columns([4, 1], vertical_alignment="center")
            left.markdown("Nothing is running. The machine is yours.")
            right.page_link(page_file("train"), label="Train something", icon=":material/model_training:")
        results()
except LabError as error:
    st.error(sentence(error))
