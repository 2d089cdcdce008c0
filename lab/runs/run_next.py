"""The one next action of a run: what most people want to do when they see it in this state."""

from __future__ import annotations

import streamlit as st

from core.errors import LabError
from core.evaluation.report import list_reports
from core.words import count
from lab.frame.confirm import confirm_if_not_mine, may_act_on
from lab.frame.live_fragment import live_part
from lab.frame.state import page_file, who
from lab.runs.action_buttons import act
from lab.runs.evaluation_form import evaluate_button
from lab.runs.run_window import open_tab
from lab.services import evaluations, runs
from lab.services import run_actions as acting
from lab.services.runs import RunView
from lab.words import escaped

TICK_S = 3.0  # while its U-Net waits or trains


def run_next(view: RunView, *, paused: bool, leaving: bool) -> None:
    """A link or a button, and a line about it."""
    with st.container(key="run-next", gap="xxsmall"):
        st.caption("Next")
        _next(view, paused=paused, leaving=leaving)


def _next(view: RunView, *, paused: bool, leaving: bool) -> None:
    if paused or view.state in ("failed", "stopped", "interrupted"):
        _resume(view, paused=paused, leaving=leaving)
        if view.run.kind.evaluates:
            _open_measured(view)
        elif view.run.kind.page:
            _open_page(view)
    elif view.run.kind.vae == "own":
        waits = not view.is_active and any(child.is_active for child in runs.children(view.id))
        live_part(every_s=TICK_S if waits else None)(_after_vae)(view)
    elif view.run.kind.generates:
        _after_unet(view)
    elif view.run.kind.evaluates:
        _open_measured(view)
    elif view.run.kind.page:
        _open_page(view)
    elif view.is_active:
        st.caption("Nothing to do: it ends by itself.")


def _resume(view: RunView, *, paused: bool, leaving: bool) -> None:
    if not may_act_on(view.run.info.owner):
        st.caption("Its owner can resume it.")
        return
    if st.button(
        "Resume",
        icon=":material/play_arrow:",
        type="primary",
        disabled=leaving,
        help="Its process is still ending" if leaving else None,
    ):
        confirm_if_not_mine(
            view.run.info.owner,
            "resume",
            lambda: act(lambda: acting.resume(view.id, who()), "Queued: it resumes from its last checkpoint"),
        )
    saved = runs.checkpoints(view.run)
    if saved:
        st.caption(f"From step {count(saved[-1].step)}")
    elif view.run.kind.trains:
        st.caption("From step 0: nothing was saved")
    if view.state in ("failed", "interrupted"):
        st.button("Read the log", icon=":material/article:", type="tertiary", on_click=open_tab, args=("Log",))


def _after_vae(view: RunView) -> None:
    children = runs.children(view.id)
    if view.collapsed_kl is not None and not view.is_active:
        query = {"like": view.id}
        st.page_link(page_file("train"), label="Train again with a lower KL weight", query_params=query)
        st.caption(_why_collapsed(view))
    elif children:
        state = {"queued": "is waiting", "running": "is training"}.get(children[0].state, f"is {children[0].state}")
        st.page_link(page_file("runs"), label=f"Its {children[0].kind} {state}", query_params={"run": children[0].id})
        st.caption(escaped(children[0].title, 60))
    elif view.state == "finished":
        st.page_link(page_file("train"), label="Train a U-Net on it", query_params={"vae": view.id})
        query = {"run": view.id}
        st.page_link(page_file("latents"), label="Look inside its latents", query_params=query)
    else:
        st.caption("A U-Net can learn on it once it has finished.")


def _why_collapsed(view: RunView) -> str:
    words = f"Collapsed: KL {view.collapsed_kl:.2g} nats per image, so its latents carry almost nothing."
    try:
        weight = view.run.settings.train_vae.kl_weight
    except LabError:
        return words
    return f"{words} Its KL weight was {weight:g}; try {weight / 10:g}."


def _after_unet(view: RunView) -> None:
    saved = runs.checkpoints(view.run)
    if not saved:
        st.caption("Images can be generated from its first checkpoint on.")
        return
    label = f"Generate from step {count(saved[-1].step)}"
    st.page_link(page_file("generate"), label=label, icon=":material/brush:", query_params={"run": view.id})
    query = {"view": "Samplers", "run": view.id}
    st.page_link(page_file("schedulers"), label="Find its best sampler", icon=":material/compare:", query_params=query)
    evaluation = evaluations.active_of(view.id)
    if evaluation is not None:
        words = "Its evaluation is waiting" if evaluation.state == "queued" else "Its evaluation is running"
        query = {"run": evaluation.id}
        st.page_link(page_file("runs"), label=words, icon=":material/grading:", query_params=query)
    elif view.state == "finished" and not list_reports(view.run):
        evaluate_button(view, key="next-evaluate")


def _open_page(view: RunView) -> None:
    """A link to the page that shows what it found."""
    parent = next(iter(view.run.info.parents), "")
    words = "See what it found" if view.state == "finished" else "Open its run there"
    page = view.run.kind.page
    st.page_link(page_file(page), label=f"{words}: {page.capitalize()}", query_params={"run": parent})


def _open_measured(view: RunView) -> None:
    """A link from an evaluation to the run that it measures."""
    measured, _ = evaluations.measured_by(view)
    if measured is None:
        st.caption("The run it measured was deleted.")
        return
    query = {"run": measured.id, "tab": "Evaluation"}
    label = "Open the run it measures" if view.is_active else "Open the run it measured"
    st.page_link(page_file("runs"), label=label, icon=":material/link:", query_params=query)
    st.caption(escaped(measured.title, 60))
