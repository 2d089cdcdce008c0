"""The view Draw: pictures with the whole way they came, then model and controls."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from core.compute.questions import DRAW
from core.config.compatibility import pair_warning
from core.config.schema import SamplingSettings
from core.diffusion.sampler_table import SAMPLERS
from core.errors import LabError
from core.model_folders.sources import ModelSource
from core.rules import NEWEST, PREFIX, rules_of
from core.sampling.recipe import Recipe, read_recipe
from core.words import count
from lab.frame.state import page_file
from lab.generate import gallery_service
from lab.generate.branch import branch_from
from lab.generate.gallery import OPENED
from lab.generate.generation_mode import WHY_NOT, along, choose_mode
from lab.generate.generation_progress import drawn
from lab.generate.generation_view import downloads, show_drawing
from lab.generate.model_import import add_a_model
from lab.generate.model_line import model_line
from lab.services.computing import warm
from lab.services.models import model_sources, source_of
from lab.widgets.choice import choose
from lab.widgets.scrubber import MAX_PICTURES
from lab.widgets.url_selectbox import pick, pick_many, pick_source
from lab.words import escaped


def controls(source: ModelSource) -> Recipe:
    """Classes, number, steps, sampler, guidance and seed, all in the URL."""
    facts = source_of(source.id)
    defaults, classes = facts.settings.sampling, facts.class_names
    way = choose_mode()
    left, right = st.columns([3, 2])
    names = {str(label): name for label, name in enumerate(classes)}
    first = [str(label) for label in range(min(len(classes), 10))]
    with left:
        picked = pick_many("Classes", names, "classes", first)
    chosen = sorted(int(label) for label in picked or first)
    most = max(2, min(16, MAX_PICTURES // len(chosen)))
    each = right.slider(
        "Pictures a class",
        1,
        most,
        1,
        help=f"At most {MAX_PICTURES} pictures at once",
        key="number",
        bind="query-params",
    )
    cells = st.columns([2, 2, 3, 2, 1], vertical_alignment="bottom")
    steps = int(
        cells[0].number_input(
            "Steps", 1, 1000, defaults.num_inference_steps, help="Sampler steps", key="steps", bind="query-params"
        )
    )
    allowed, refused = facts.settings.diffusion.offered_samplers(steps)
    if way == "seeds":
        refused = {**refused, **{name: WHY_NOT for name in allowed if SAMPLERS[name].stochastic}}
        allowed = [name for name in allowed if not SAMPLERS[name].stochastic]
    index = allowed.index(defaults.sampler) if defaults.sampler in allowed else 0
    sampler = cells[1].selectbox("Sampler", allowed, index=index, key="sampler", bind="query-params")
    guidance = cells[2].slider(
        "Guidance",
        1.0,
        5.0,
        float(min(max(defaults.guidance_scale, 1.0), 5.0)),
        0.25,
        key="guidance",
        bind="query-params",
        help="1 = none. More makes the class clearer and the pictures more alike.",
    )
    seed = int(
        cells[3].number_input(
            "Seed",
            0,
            2**31 - 2,
            defaults.seed,
            key="seed",
            bind="query-params",
            help="The same pictures as `python -m core sample` draws with this seed",
        )
    )
    cells[4].button(":material/casino:", help="Next seed", on_click=lambda: st.session_state.update(seed=seed + 1))
    poor = pair_warning(schedule=facts.settings.diffusion.schedule, sampler=sampler, num_inference_steps=steps)
    if poor:
        st.caption(f":material/info: {escaped(poor, 300)}")
    with st.container(horizontal=True):
        with st.popover("Weights and guidance in detail", type="tertiary"):
            step, weights, rescale, interval = _details(source, facts.settings.sampling)
        if refused:
            with st.popover("Why not the other samplers?", type="tertiary"):
                for name, why in refused.items():
                    st.markdown(f"**{escaped(name)}** {escaped(why.split(': ', 1)[-1], 300)}")
    labels = tuple(label for _ in range(each) for label in chosen)[:MAX_PICTURES]
    # place: as in `sample --per-label`, whose pictures of a class stand together
    places = tuple(chosen.index(label) * each + index // len(chosen) for index, label in enumerate(labels))
    recipe = Recipe(
        source=source.id,
        step=step,
        weights="raw" if weights == "raw" else "ema",
        labels=labels,
        seeds=(seed,) * len(labels),
        places=places,
        sampler=str(sampler),
        num_inference_steps=steps,
        guidance_scale=guidance,
        guidance_rescale=rescale,
        guidance_interval=interval,
        versions=replace(NEWEST, noise=_noise_rule()).written(),
    )
    return along(way, recipe, facts)


def _noise_rule() -> int:
    """The version of the noise that the link asks for: it names one only where that is not the first.

    Raises LabError for one that this version of the lab does not know.
    """
    return rules_of({f"{PREFIX}noise": st.query_params.get("noise", "1")}).noise


def _details(source: ModelSource, defaults: SamplingSettings) -> tuple[int, str, float, tuple[float, float]]:
    """(checkpoint, weights, rescale, interval)."""
    step, weights = source.steps[0], source.weights[0]
    words = {"ema": "averaged (EMA)", "raw": "raw"}
    if source.origin == "run":
        step = int(
            pick(
                "Checkpoint",
                {str(found): f"step {count(found)}" for found in source.steps},
                "checkpoint",
                help="The newest is at the top; earlier ones show what was learned when",
            )
        )
        weights = choose("Weights", source.weights, key="weights", words=words.__getitem__)
    else:
        st.caption(f"Holds one set of weights: {words[weights]}, of step {count(step)}.")
    rescale = st.slider(
        "Guidance rescale",
        0.0,
        1.0,
        defaults.guidance_rescale,
        0.1,
        key="rescale",
        bind="query-params",
        help="Gives guided outputs their deviation back, which keeps strong guidance from over-exposing",
    )
    low, high = st.slider(
        "Guidance acts while the noise level t / T is between",
        0.0,
        1.0,
        defaults.guidance_interval,
        0.05,
        key="interval",
        bind="query-params",
        help="Outside, one network pass is enough (arXiv 2404.07724)",
    )
    return int(step), str(weights), float(rescale), (float(low), float(high))


def opened_recipe() -> Recipe | None:
    """A recipe that somebody opened, from the gallery or a file; it stands in for the controls until taken away."""
    kept = st.query_params.get(OPENED, "")
    if kept:
        st.button("Leave the drawing of the gallery", key="leave-kept", icon=":material/close:", on_click=_leave_kept)
        return gallery_service.entry_of(kept).recipe()
    with st.expander("Open a recipe"):
        file = st.file_uploader(
            "A PNG, WebP, npz or JSON that was downloaded here", type=["png", "webp", "npz", "json"], max_upload_size=64
        )
    return None if file is None else read_recipe(file.getvalue(), where=escaped(file.name, 60))


def _leave_kept() -> None:
    st.query_params.pop(OPENED, None)


def show() -> None:
    """Pictures first; model and controls below."""
    warm(DRAW)
    sources = model_sources()
    if not sources:
        st.markdown("No trained U-Net yet. Train one: about four minutes on a CPU core with the preset *quick*.")
        st.page_link(page_file("train"), label="Train a model", icon=":material/model_training:")
        return
    stage, rest = st.container(), st.container()
    with rest:
        source = pick_source(sources)
        model_line(source, trained_here=sources[0].origin == "run")
        recipe = controls(source)
        try:
            opened = opened_recipe()
        except LabError as error:
            st.error(escaped(str(error), 300))
            opened = None
        add_a_model()
    with stage:
        if opened is not None:
            st.caption(f"Drawn from the recipe that you opened, with {escaped(opened.source, 60)}.")
        drawing = drawn(opened or recipe)
        if drawing is None:
            return
        answer, steps = show_drawing(drawing, key="scrubber", branch=drawing.recipe.branch is None)
        downloads(drawing, key="drawing", source_title=source.title if opened is None else opened.source)
        asked = getattr(answer, "branch", None)
        if asked is not None:
            st.session_state["branch-at"] = steps[min(int(asked), len(steps) - 1)]
        if "branch-at" in st.session_state and drawing.recipe.branch is None:
            samplers = source_of(source.id).settings.diffusion.offered_samplers(recipe.num_inference_steps)[0]
            branch_from(drawing, min(int(st.session_state["branch-at"]), int(drawing.steps[-1])), samplers)
