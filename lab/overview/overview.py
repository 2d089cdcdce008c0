"""Overview: what is going on, and what to do next."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from core.errors import LabError
from core.values import instant
from core.words import ago, count, duration
from lab.frame.live_fragment import live_part
from lab.frame.notices import notify_button, since_here
from lab.frame.problems import problems_shown
from lab.frame.start_button import press_token
from lab.frame.state import go_to, page_file, who
from lab.services import run_actions
from lab.services.runs import RunView, list_views, newest_preview
from lab.train.training_service import settings_for, start
from lab.widgets.pictures import show_pictures
from lab.widgets.run_card import live_card
from lab.words import escaped, exactly, sentence, state_badge

MOST_CARDS, MOST_WAITING, MOST_NEW = 6, 5, 8
STARTED = "overview-started"
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
    token = press_token(pressed)
    if pressed:
        try:
            with st.spinner("Preparing the data set", show_time=True):
                quick = settings_for("quick", {})
                ids = start("all", quick, preset="quick", name="First light", owner=who(), token=token)
        except LabError as error:
            st.error(sentence(error), icon=":material/error:")
        else:
            st.session_state[STARTED] = ids[0]
            st.rerun()
    st.caption("The preset *quick*: about four minutes on a CPU core, in the background. You may close this tab.")
    st.page_link(
        page_file("generate"), label="See what a trained model draws: one comes with the lab", icon=":material/brush:"
    )


@live_part(every_s=2)
def running_now() -> None:
    """Live cards; when the last run ends, the whole page is drawn again."""
    with problems_shown():
        views, held = list_views(comparisons=True), paused_ids()
        active = [view for view in views if view.is_active or view.id in held]
        if not active:
            st.rerun()
        live = [view for view in active if view.state != "queued" and view.id not in held]
        for view in live[:MOST_CARDS]:
            with st.container(border=True):
                live_card(view)
                if st.button("Open", key=f"open-{view.id}", icon=":material/open_in_full:"):
                    go_to("runs", view.id)
        if len(live) > MOST_CARDS:
            st.caption(f"{count(len(live) - MOST_CARDS)} more are under Runs.")
        waiting([view for view in active if view not in live])


def paused_ids() -> set[str]:
    """Runs whose place in the queue is kept."""
    return {entry.run.id for entry in run_actions.queue() if entry.state == "paused"}


def waiting(views: list[RunView]) -> None:
    """The next in the queue, a line each: turn, owner, what it waits for, when it starts."""
    if not views:
        return
    entries = {entry.run.id: entry for entry in run_actions.queue()}
    views = sorted(views, key=lambda view: (entries[view.id].place if view.id in entries else 0, view.id))
    st.markdown(f"**{count(len(views))}** waiting")
    for view in views[:MOST_WAITING]:
        entry = entries.get(view.id)
        name, state, facts, button = st.columns([4, 2, 5, 1.4], vertical_alignment="center")
        name.markdown(f"{escaped(view.title)}  \n:gray[:small[{view.kind} · {escaped(view.run.info.owner, 40)}]]")
        state.markdown(state_badge("paused" if entry and entry.state == "paused" else "queued"))
        words = []
        if entry is not None and entry.state != "paused":
            words.append("next" if entry.place == 1 else f"place {count(entry.place)}")
            words += [f"waits for {entry.waits_for}"] if entry.waits_for else []
            words += [f"starts in about {duration(entry.expected_start_s)}"] if entry.expected_start_s else []
        facts.caption(escaped(" · ".join(words), 200))
        if button.button("Open", key=f"waiting-{view.id}"):
            go_to("runs", view.id)
    if len(views) > MOST_WAITING:
        st.caption(f"{count(len(views) - MOST_WAITING)} more wait.")


def results(ended: list[RunView]) -> None:
    """The newest digits, what ended while this person was away, and what ended before."""
    drawn = next((view for view in ended if view.run.kind.generates and view.state == "finished"), None)
    preview = newest_preview(drawn.run) if drawn else None
    if drawn is not None and preview is not None:
        st.subheader("Latest pictures")
        show_pictures(preview.images[:20], columns=min(10, len(preview.images)), width=660)
        st.caption(f"{escaped(drawn.title)}, step {count(preview.step)}, {ago(drawn.status.heartbeat_at)}")
        if st.button("Draw more with it", type="primary", icon=":material/brush:"):
            go_to("generate", drawn.id)
    ended = sorted(ended, key=lambda view: view.status.heartbeat_at, reverse=True)
    since_s = since_here()
    new = [view for view in ended if since_s and _instant(view.status.heartbeat_at) > since_s]
    if new:
        st.subheader("Ended since you were here")
        when = datetime.fromtimestamp(since_s, UTC).isoformat()
        more = f"; {count(len(new) - MOST_NEW)} more are under Runs" if len(new) > MOST_NEW else ""
        st.caption(f"Your last visit ended {ago(when)}{more}.", help=exactly(when))
        for view in new[:MOST_NEW]:
            _ended(view)
    old = [view for view in ended if view not in new]
    if old:
        st.subheader("Ended before" if new else "Ended lately")
        for view in old[: max(3, 6 - len(new))]:
            _ended(view)


def _ended(view: RunView) -> None:
    name, state, facts, button = st.columns([4, 2, 5, 1.4], vertical_alignment="center")
    owner = escaped(view.run.info.owner, 40)
    name.markdown(f"**{escaped(view.title)}**  \n:gray[:small[{view.kind} · {escaped(view.data_name)} · {owner}]]")
    state.markdown(state_badge(view.state))
    steps = f"step {count(view.status.step)} of {count(view.status.steps_total)}"
    parts = [steps, f"trained {duration(view.status.elapsed_s)}", ago(view.status.heartbeat_at)]
    why = f"  \n{escaped(view.status.reason, 90)}" if view.state in ("failed", "interrupted") else ""
    facts.caption(" · ".join(part for part in parts if part) + why)
    if button.button("Open", key=f"ended-{view.id}"):
        go_to("runs", view.id)


def _instant(iso: str) -> float:
    """Seconds since 1970; 0.0 for what is no instant."""
    found = instant(iso)
    return found.timestamp() if found else 0.0


def page(views: list[RunView]) -> None:
    """What runs, then what came out."""
    st.title("Overview")
    held = paused_ids()
    if any(view.is_active or view.id in held for view in views):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            live = any(view.is_active and view.state != "queued" for view in views)
            st.subheader("Running now" if live else "In the queue", width="content")
            notify_button()
        running_now()
    else:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown("Nothing is running. The machine is yours.")
            label = "Train something"
            st.page_link(page_file("train"), label=label, icon=":material/model_training:", width="content")
    over = [view for view in views if not view.is_active and view.id not in held]
    results([view for view in over if view.run.kind.listed])


def show() -> None:
    """Go on to what was started a moment ago, else what runs and what came out, or the way to begin."""
    started = st.session_state.pop(STARTED, "")
    if started:
        go_to("runs", started)
    found = list_views(comparisons=True)
    page(found) if found else empty_lab()
