"""Which VAE is looked at: a run and one of its checkpoints, both named by the link."""

from __future__ import annotations

import streamlit as st

from core.words import ago, count
from lab.frame.state import page_file
from lab.latents.vae_service import Chosen, choices_of, runs_with_a_vae
from lab.services.runs import RunView
from lab.widgets.url_selectbox import pick_checkpoint
from lab.words import escaped, plain

COPY = "copy"  # in the link, of a U-Net run


def choose() -> Chosen | None:
    """The VAE the page is about, or None with the way to one on the screen."""
    views = runs_with_a_vae()
    if not views:
        wanted = st.query_params.get("run", "")
        if wanted:
            st.warning(f"Run {escaped(wanted, 60)} has no VAE with a checkpoint.")
        st.markdown("No VAE yet. Training one takes a minute or two on a CPU.")
        st.page_link(page_file("train"), label="Train a VAE", icon=":material/model_training:")
        return None
    return choose_from(views, "VAE of", ("run", "checkpoint"))


def choose_from(views: list[RunView], label: str, params: tuple[str, str], *, optional: bool = False) -> Chosen | None:
    """A run and a checkpoint, in the URL as `params`; optional: 'nothing' comes first."""
    by_id = {view.id: view for view in views}
    names = {
        view.id: plain(
            f"{view.title} · {'its own copy · ' if view.run.kind.vae == 'copy' else ''}{ago(view.run.info.created_at)}"
        )
        for view in views
    }
    found = pick_checkpoint(
        label,
        {"": "nothing", **names} if optional else names,
        params,
        lambda run_id: {each.name or COPY: each for each in choices_of(by_id[run_id])},
        _in_words,
        refusal="Run {} has no VAE with a checkpoint. Showing " + ("nothing." if optional else "another."),
        help="Averaged weights (EMA) are those a U-Net is trained on; raw ones are the last of training.",
    )
    return found[1] if found else None


def _in_words(chosen: Chosen) -> str:
    if chosen.step is None:
        return "the one it diffuses in"
    return f"step {count(chosen.step)}" + ("" if chosen.weights == "ema" else ", raw")
