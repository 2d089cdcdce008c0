"""Overview: what is going on, and what to do next."""

from __future__ import annotations

import streamlit as st

from core.errors import LabError
from lab.components.pictures import show_pictures
from lab.components.problems import problems_shown
from lab.components.run_card import live_card
from lab.services.runs import RunView, list_views, newest_preview
from lab.services.training import settings_for, start
from lab.state import go_to, page_file, who
from lab.text import ago, count, duration, escaped, sentence, state_badge

STEPS = (
    ("1 · Train a VAE", "It learns to squeeze a 32 × 32 picture into a small 8 × 8 latent and back."),
    ("2 · Train a U-Net", "It learns to take noise out of those latents, for the class you ask for."),
    ("3 · Generate", "Start from pure noise, watch a digit appear, and scrub through every step."),
)


def empty_lab() -> None:
    """Three steps from nothing to digits, and one button."""
    st.title("From nothing to digits")
    st.markdown("This lab has no runs yet. Three steps, and one button for the first two:")
    for column, (title, words) in zip(st.columns(3, gap="medium"), STEPS, strict=True):
        with column:
            st.markdown(f"##### {title}")
            st.markdown(words)
    st.space("small")
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Train both on MNIST", type="primary", icon=":material/play_arrow:")
        st.page_link(page_file("train"), label="Choose the settings yourself", icon=":material/tune:", width="content")
    if pressed:
        try:
            with st.spinner("Preparing the data set", show_time=True):
                ids = start("all", settings_for("quick", {}), preset="quick", name="First light", owner=who())
        except LabError as error:
            st.error(sentence(error), icon=":material/error:")
        else:
            go_to("runs", ids[0])
    st.caption("The preset *quick*: about four minutes on a CPU core, in the background. You may close this tab.")


@st.fragment(run_every=2)
def running_now() -> None:
    """Live cards; when the last run ends, the whole page is drawn again."""
    with problems_shown():
        active = sorted((view for view in list_views() if view.is_active), key=lambda view: view.state == "queued")
        if not active:
            st.rerun()
        for view in active[:6]:
            with st.container(border=True):
                live_card(view)
                if st.button("Open", key=f"open-{view.id}", icon=":material/open_in_full:"):
                    go_to("runs", view.id)


def results(ended: list[RunView]) -> None:
    """The newest digits, and what ended lately."""
    drawn = next((view for view in ended if view.run.info.kind == "unet" and view.state == "finished"), None)
    preview = newest_preview(drawn.run) if drawn else None
    if drawn is not None and preview is not None:
        st.subheader("Latest pictures")
        show_pictures(preview.images[:20], columns=min(10, len(preview.images)), width=660)
        st.caption(f"{escaped(drawn.title)}, step {count(preview.step)}, {ago(drawn.status.heartbeat_at)}")
        if st.button("Draw more with it", type="primary", icon=":material/brush:"):
            go_to("generate", drawn.id)
    if ended:
        st.subheader("Ended lately")
    for view in ended[:6]:
        name, state, facts, button = st.columns([4, 2, 5, 1.4], vertical_alignment="center")
        owner = escaped(view.run.info.owner, 40)
        name.markdown(f"**{escaped(view.title)}**  \n:gray[:small[{view.kind} · {escaped(view.data_name)} · {owner}]]")
        state.markdown(state_badge(view.state))
        steps = f"step {count(view.status.step)} of {count(view.status.steps_total)}"
        parts = [steps, f"trained {duration(view.status.elapsed_s)}", ago(view.status.heartbeat_at)]
        why = f"  \n{escaped(view.status.reason, 90)}" if view.state == "failed" else ""
        facts.caption(" · ".join(part for part in parts if part) + why)
        if button.button("Open", key=f"ended-{view.id}"):
            go_to("runs", view.id)


def page(views: list[RunView]) -> None:
    """What runs, then what came out."""
    st.title("Overview")
    if any(view.is_active for view in views):
        st.subheader("Running now")
        running_now()
    else:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("Nothing is running. The machine is yours.")
            label = "Train something"
            st.page_link(page_file("train"), label=label, icon=":material/model_training:", width="content")
    results([view for view in views if not view.is_active])


with problems_shown():
    found = list_views()
    page(found) if found else empty_lab()
