"""VAEs that people look into, and the work on them, shared by all sessions."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import streamlit as st

from core.errors import LabError
from core.latent.inspection.vae_source import (
    MOST,
    AskedVae,
    LatentSubject,
    Scaling,
    Weights,
    codec_of,
    find_subject,
)
from core.reading import Stamp, stamp_of
from core.runs.listing import list_checkpoints
from lab.services import background
from lab.services.background import Task, Work
from lab.services.runs import RunView, children, list_views, open_store
from lab.services.settings import current_site
from lab.words import plain

SHOWN = 2_000  # held-out pictures that the map and the decoder draw from: encoded in a moment
MOST_CHILDREN = 3


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What the screen looks at. step: None for a U-Net run, whose copy of its VAE is one. name: as the link has it."""

    view: RunView
    step: int | None
    weights: Weights

    @property
    def name(self) -> str:
        """'500', '500-raw' or '' for a U-Net run's copy."""
        if self.step is None:
            return ""
        return str(self.step) if self.weights == "ema" else f"{self.step}-raw"

    @property
    def title(self) -> str:
        """The run and the checkpoint, not escaped."""
        if self.step is None:
            return f"the VAE inside {self.view.title}"
        return f"{self.view.title}, step {self.step:,}" + ("" if self.weights == "ema" else ", raw")


def choices_of(view: RunView) -> list[Chosen]:
    """Every VAE that a run holds: its checkpoints, newest first and averaged weights before raw ones, or its copy."""
    if view.run.kind.vae == "copy":
        return [Chosen(view=view, step=None, weights="ema")]
    steps = [info.step for info in list_checkpoints(view.run)][::-1]
    kinds: tuple[Weights, ...] = ("ema", "raw")
    return [Chosen(view=view, step=step, weights=weights) for weights in kinds for step in steps]


def runs_with_a_vae() -> list[RunView]:
    """VAE runs with a checkpoint, then U-Net runs with their own copy of a VAE, newest first each."""
    views = list_views()
    encoders = [view for view in views if view.run.kind.vae == "own" and list_checkpoints(view.run)]
    copies = [view for view in views if view.run.kind.vae == "copy" and (view.run.vae_dir / "codec.json").is_file()]
    return [*encoders, *copies]


def subject(run_id: str, step: int | None, weights: Weights = "ema", limit: int = MOST) -> LatentSubject:
    """The VAE and its held-out pictures, without PyTorch; found again when the run's files changed.

    Raises a LabError.
    """
    run = open_store().get(run_id)
    if run.kind.vae == "copy":
        files = [run.vae_dir / "codec.json"]
    else:
        files = [info.path / "manifest.json" for info in list_checkpoints(run) if step in (None, info.step)][-1:]
    return _subject(
        run_id, step, weights, limit, tuple(stamp_of(path) for path in (run.config_path, run.data_path, *files))
    )


@st.cache_resource(max_entries=12, show_spinner=False)
def _subject(run_id: str, step: int | None, weights: Weights, limit: int, changed: tuple[Stamp, ...]) -> LatentSubject:
    run = open_store().get(run_id)
    return find_subject(
        run, step=step, weights=weights, data_dir=current_site().data, cache_dir=current_site().cache, limit=limit
    )


def asked_vae(chosen: Chosen, limit: int = SHOWN) -> AskedVae:
    """How the process that computes is asked for this VAE and at most `limit` pictures. Raises a LabError."""
    return subject(chosen.view.id, chosen.step, chosen.weights).asked(limit)


def begin(chosen: Chosen, name: str, task: Task) -> Work:
    """The task in the background, for everybody who asks the same of this VAE; `name` says what is made."""
    return background.begin(_work_key(chosen, name), task)


def running(chosen: Chosen, name: str) -> Work | None:
    """The work on this VAE that was begun under a name that starts so and is not done."""
    return background.running(_work_key(chosen, name))


def stopped(chosen: Chosen, name: str) -> Work | None:
    """The work of that very name that somebody stopped, until it is forgotten."""
    work = background.find(_work_key(chosen, name))
    return work if work is not None and work.is_cancelled else None


def forget(work: Work) -> None:
    """What was stopped may begin again."""
    background.forget(work)


def _work_key(chosen: Chosen, name: str) -> str:
    return f"latents-{'-'.join(name_of(chosen))}-{name}"


def name_of(chosen: Chosen) -> tuple[str, ...]:
    """Names a VAE by its weights, so that nothing is shown of a checkpoint that was replaced."""
    about = subject(chosen.view.id, chosen.step, chosen.weights)
    return (chosen.view.id, about.key, chosen.weights)


def scalings_of_children(about: LatentSubject) -> list[tuple[str, Scaling]]:
    """(title, (shift, scale)) of at most three U-Net runs that diffuse in the latents of these very weights."""
    found: list[tuple[str, Scaling]] = []
    for view in children(about.run.id):
        if view.run.kind.vae == "copy" and len(found) < MOST_CHILDREN:
            with contextlib.suppress(LabError):
                vae_hash, scaling = codec_of(view.run)
                if vae_hash == about.vae_hash:
                    found.append((plain(view.title, 30), scaling))
    return found
