"""Which VAE is looked at: a run and one of its checkpoints, both named by the link."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lab.components.pick import pick
from lab.services.latents import Chosen, choices_of, runs_with_a_vae
from lab.services.runs import RunView
from lab.state import page_file
from lab.text import ago, count, escaped, plain


def choose() -> Chosen | None:
    """The VAE the page is about, or None with the way to one on the screen."""
    views = runs_with_a_vae()
    if not views:
        wanted = st.query_params.get("run", "")
        if wanted:
            st.warning(f"Run {escaped(wanted)} has no VAE with a checkpoint.")
        st.markdown("No VAE yet. Train one, which takes a minute or two on a CPU, and look inside it here.")
        st.page_link(page_file("train"), label="Train a VAE", icon=":material/model_training:")
        return None
    return choose_from(views, "VAE of", "run", "checkpoint")


def choose_from(
    views: list[RunView], label: str, run_key: str, checkpoint_key: str, *, optional: bool = False
) -> Chosen | None:
    """A run and a checkpoint, in the URL as `run_key` and `checkpoint_key`; optional: 'nothing' comes first."""
    by_id = {view.id: view for view in views}
    names = {
        view.id: plain(
            f"{view.title} · {'its own copy · ' if view.run.info.kind == 'unet' else ''}{ago(view.run.info.created_at)}"
        )
        for view in views
    }
    wanted = st.query_params.get(run_key, "")
    if wanted and wanted not in by_id:
        st.warning(f"Run {escaped(wanted)} has no VAE with a checkpoint. Showing another.")
    cells = st.columns([3, 2])
    with cells[0]:
        run_id = pick(label, {"": "nothing", **names} if optional else names, run_key)
    if not run_id:
        st.query_params.pop(checkpoint_key, None)
        return None
    if wanted in by_id and run_id != wanted:  # just chosen: what the link says is of the other run
        st.query_params.pop(checkpoint_key, None)
    found = {each.name or "copy": each for each in choices_of(by_id[run_id])}
    if not found:  # removed since the list was made
        st.warning("Its checkpoints are gone.")
        return None
    missing = st.query_params.get(checkpoint_key, "")
    if missing and missing not in found:
        st.warning(f"Checkpoint {escaped(missing, 40)} is not kept. Showing another.")
    with cells[1]:
        name = pick(
            "Checkpoint",
            {name: _in_words(each) for name, each in found.items()},
            checkpoint_key,
            help="Averaged weights (EMA) are those a U-Net is trained on; raw ones are the last of training.",
        )
    return found[name]


def shower(bar: DeltaGenerator) -> Callable[[str, float], None]:
    """progress(stage, fraction) that fills a bar."""

    def show(text: str, share: float) -> None:
        bar.progress(min(1.0, max(0.0, share)), text=text[:1].upper() + text[1:])

    return show


def _in_words(chosen: Chosen) -> str:
    if chosen.step is None:
        return "the one it diffuses in"
    return f"step {count(chosen.step)}" + ("" if chosen.weights == "ema" else ", raw")
