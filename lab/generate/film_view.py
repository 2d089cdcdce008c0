"""The view Film: which runs, their film so far, and the film as a file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import streamlit as st

from core.runs.film_export import Axis
from core.words import ago, count
from lab.frame.live_fragment import live_part
from lab.frame.problems import problems_shown
from lab.frame.state import page_file
from lab.services import film as films
from lab.services.film import Stamp
from lab.services.runs import RunView, view_of
from lab.widgets.choice import choose
from lab.widgets.film import film_player, pack_films
from lab.widgets.url_selectbox import RUN, pick, pick_or_tell
from lab.words import escaped, plain

AGAINST, NOBODY = "against", ""
TICK_S = 5.0
READ = {
    True: "During training, the same noise becomes better images. If nothing changes, the run does not learn.",
    False: "The same validation images throughout. Gray smears in late reconstructions show a collapsed VAE.",
}
KEYS = "Left and right arrow keys, Home, End and space move a slider. Up and down move the training step."


@dataclass(frozen=True, kw_only=True)
class _Packed:
    """What the browser gets, and what is said beside it."""

    payload: bytes
    times: int
    frames: int
    left_out: int
    every: int


def show() -> None:
    """The whole view."""
    views = films.filmed_views()
    if not views:
        st.markdown("No film yet. Each run stores previews as it trains; the first appears within a minute.")
        st.page_link(page_file("train"), label="Train a model", icon=":material/model_training:")
        return
    by_id = {view.id: view for view in views}
    names = {view.id: _title(view) for view in views}
    left, middle, right = st.columns([4, 4, 2], vertical_alignment="bottom")
    with left:
        first = by_id[pick_or_tell("Run", names, RUN, "Run {} has no preview to show. Showing another.")]
    others = [view for view in views if view.id != first.id and view.kind == first.kind]
    with middle:
        second = by_id.get(
            pick("Compare with", {NOBODY: "nothing", **{view.id: _title(view) for view in others}}, AGAINST)
        )
    with right:
        each = choose("Images per class", (1, 2), key="film-each")
    shown = [first, *([second] if second else [])]
    live = any(view.is_active for view in shown)
    live_part(every_s=TICK_S if live else None)(_film)([view.id for view in shown], each)
    _downloads(shown, each)


def _title(view: RunView) -> str:
    return plain(f"{view.title} · {view.kind} · {ago(view.run.info.created_at)}")


def _film(run_ids: list[str], each: int) -> None:
    """The player; while a run trains, drawn again when it has a new preview."""
    with problems_shown():
        views = [view_of(run_id) for run_id in run_ids]
        stamps = tuple(films.stamp_of(view.run) for view in views)
        packed = _packed(tuple(run_ids), stamps, tuple(view.title for view in views), each)
        film_player(packed.payload, key="film")
        st.caption(READ[views[0].run.kind.generates])
        st.caption(
            f"{count(packed.times)} training steps"
            + (f" × {count(packed.frames)} denoising steps" if packed.frames > 1 else "")
            + f", with the averaged (EMA) weights. {KEYS}"
        )
        if packed.left_out:
            which = "1 preview is" if packed.left_out == 1 else f"{count(packed.left_out)} previews are"
            st.caption(f":material/warning: {which} damaged or of another shape, and left out.")
        if packed.every > 1:
            st.caption(f"Large images: every {packed.every}th pixel is shown. The files in the run are complete.")


@st.cache_resource(max_entries=6, show_spinner="Reading the previews")
def _packed(run_ids: tuple[str, ...], stamps: tuple[Stamp, ...], titles: tuple[str, ...], each: int) -> _Packed:
    """Kept for as long as no preview changes. Raises a LabError in one sentence."""
    found = [films.film_of(run_id, each) for run_id in run_ids]
    return _Packed(
        payload=pack_films(found, titles),
        times=len({step for film in found for step in film.steps}),
        frames=max(len(film.timesteps) for film in found),
        left_out=sum(film.left_out for film in found),
        every=max(film.every for film in found),
    )


def _downloads(views: list[RunView], each: int) -> None:
    """The film as an animation, made when it is asked for."""
    with st.popover("Save", icon=":material/download:"):
        for index, view in enumerate(views):
            name = f" of {plain(view.title, 30)}" if len(views) > 1 else ""
            axes: dict[Axis, str] = {"training": "Training (WebP)"}
            if view.run.kind.generates:
                axes["both"] = "Training and denoising (WebP)"
            for axis, label in axes.items():
                st.download_button(
                    f"{label}{escaped(name)}",
                    partial(films.animation_of, view.id, each, axis),
                    f"film-{view.id}-{axis}.webp",
                    "image/webp",
                    key=f"film-{axis}-{index}",
                    icon=":material/movie:",
                    help="An animated WebP. Rendering both axes takes a few seconds.",
                )
