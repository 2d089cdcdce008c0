"""The view Create: controls in a column, and beside them the images with the way each came about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.comparison.recipe_grid import cells_of, check_axes, evaluations
from core.compute.questions import DRAW
from core.config.compatibility import pair_warning
from core.config.interval import MOST_SIGMA, SIGMA, Interval
from core.config.schema import SamplingSettings
from core.diffusion.sampler_table import SAMPLERS
from core.errors import LabError
from core.home import PROGRAM
from core.model_folders.sources import ModelSource
from core.rules import NEWEST, PREFIX, rules_of
from core.sampling.recipe import Recipe, read_recipe
from core.words import count, counted, duration
from lab.frame.state import page_file
from lab.generate import gallery_service, generation_service
from lab.generate.branch import branch_from
from lab.generate.gallery import OPENED
from lab.generate.generation_mode import WHY_NOT, along, choose_mode
from lab.generate.generation_progress import Places, ask_again, drawn, seconds_for, was_cancelled
from lab.generate.generation_view import save_menu, show_drawing
from lab.generate.grid import (
    AT_ONCE,
    GUIDANCE,
    cost_of_cells,
    grid_form,
    grid_to_show,
    known_of,
    leave_grid,
    show_grid,
)
from lab.generate.model_import import add_a_model
from lab.generate.model_line import model_line
from lab.services.computing import warm
from lab.services.models import model_sources, source_of
from lab.widgets.choice import choose
from lab.widgets.scrubber import MAX_PICTURES
from lab.widgets.url_selectbox import pick, pick_many, pick_source
from lab.words import escaped

STYLE = Path(__file__).with_name("generate.css")
ASKED, FINISHED = "generate-asked", "generate-finished"  # recipes of this session: to show, and shown last
FILES = "generate-files"  # how many recipes were opened from a file and left
BEGUN = "generate-begun"  # the large opened recipe that this session began
LEVELS = ("t/T", SIGMA)  # as an address names them
LEVELS_HELP = "Outside this range guidance is off, which halves the cost. σ = noise / signal (arXiv 2404.07724)."
PAPER_SIGMA = (0.28, 2.9)  # arXiv 2404.07724: of EDM2-S on ImageNet-512
MORE = "more"  # the query parameter: how many times more


def controls(source: ModelSource) -> tuple[Recipe, bool]:
    """(recipe, whether a class is chosen): classes, number, steps, guidance, sampler and seed, all in the URL."""
    facts = source_of(source.id)
    defaults, classes = facts.settings.sampling, facts.class_names
    names = {str(label): name for label, name in enumerate(classes)}
    first = list(names)[:10]
    picked = pick_many("Classes", names, "classes", first)
    with st.container(horizontal=True, gap="small"):
        for label, chosen_labels in (("All", list(names)[:MAX_PICTURES]), ("None", [])):
            st.button(
                label,
                key=f"classes-{label.lower()}",
                type="tertiary",
                on_click=st.session_state.update,
                args=({"pick-classes": chosen_labels},),
            )
    chosen = sorted(int(label) for label in picked or first)
    most = max(2, min(16, MAX_PICTURES // len(chosen)))
    each = st.slider(
        "Images per class", 1, most, 1, help=f"At most {MAX_PICTURES} images at once", key="number", bind="query-params"
    )
    cells = st.columns(2)
    steps = int(cells[0].number_input("Steps", 1, 1000, defaults.num_inference_steps, key="steps", bind="query-params"))
    seed = int(
        cells[1].number_input(
            "Seed",
            0,
            2**31 - 2,
            defaults.seed,
            key="seed",
            bind="query-params",
            help=f"`{PROGRAM} sample` generates the same images with this seed",
        )
    )
    guidance = st.slider(
        "Guidance",
        *GUIDANCE,
        min(max(defaults.guidance_scale, GUIDANCE[0]), GUIDANCE[1]),
        0.25,
        key="guidance",
        bind="query-params",
        help="1 = off. Higher: more accurate, less varied.",
    )
    sampler_cell = st.container()
    with st.expander("More settings", expanded=st.query_params.get("way", "classes") not in ("", "classes")):
        way = choose_mode()
        walk = st.container()
        step, weights, rescale, interval = _details(source, facts.settings.sampling)
        allowed, refused = facts.settings.diffusion.offered_samplers(steps)
        if way == "seeds":
            refused = {**refused, **{name: WHY_NOT for name in allowed if SAMPLERS[name].stochastic}}
            allowed = [name for name in allowed if not SAMPLERS[name].stochastic]
        if refused:
            with st.popover("Why not the other samplers?", type="tertiary"):
                for name, why in refused.items():
                    st.markdown(f"**{escaped(name)}** {escaped(why.split(': ', 1)[-1], 300)}")
    index = allowed.index(defaults.sampler) if defaults.sampler in allowed else 0
    sampler = sampler_cell.selectbox("Sampler", allowed, index=index, key="sampler", bind="query-params")
    poor = pair_warning(schedule=facts.settings.diffusion.schedule, sampler=sampler, num_inference_steps=steps)
    if poor:
        sampler_cell.caption(f":material/info: {escaped(poor, 300)}")
    if source.origin == "run":
        query = {"view": "Samplers", "run": source.id}
        words = "Find the best sampler"
        sampler_cell.page_link(page_file("schedulers"), label=words, icon=":material/compare:", query_params=query)
    labels = tuple(label for _ in range(each) for label in chosen)[:MAX_PICTURES]
    # place: as in `sample --per-label`, whose images of a class stand together
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
        versions=replace(NEWEST, noise=_noise_rule(source)).written(),
    )
    with walk:
        return along(way, recipe, facts), bool(picked)


def _noise_rule(source: ModelSource) -> int:
    """The version of the noise that the link asks for; the model's own where it names none.

    Raises LabError for one that this version of the lab does not know.
    """
    return rules_of({f"{PREFIX}noise": st.query_params.get("noise", str(source.rules.noise))}).noise


def _details(source: ModelSource, defaults: SamplingSettings) -> tuple[int, str, float, Interval]:
    """(checkpoint, weights, rescale, interval)."""
    step, weights = source.steps[0], source.weights[0]
    words = {"ema": "averaged (EMA)", "raw": "raw"}
    if source.origin == "run":
        step = int(
            pick(
                "Checkpoint",
                {str(found): f"step {count(found)}" for found in source.steps},
                "checkpoint",
                help="The newest is at the top. Earlier ones show how the model learned.",
            )
        )
        weights = choose("Weights", source.weights, key="weights", words=words.__getitem__)
    else:
        st.caption(f"{words[weights].capitalize()} weights, step {count(step)}.")
    rescale = st.slider(
        "Guidance rescale",
        0.0,
        1.0,
        defaults.guidance_rescale,
        0.1,
        key="rescale",
        bind="query-params",
        help="Restores the standard deviation of guided predictions. Prevents overexposure at high guidance.",
    )
    return int(step), str(weights), float(rescale), _interval(defaults.guidance_interval)


def _interval(own: Interval) -> Interval:
    """Where guidance acts: at first as the model's own setting says, or the link."""
    is_sigma = len(own) == 3 and "interval" not in st.query_params
    unit = choose("Guide between levels of", LEVELS, key="levels", default=LEVELS[is_sigma], help=LEVELS_HELP)
    if unit == SIGMA:
        low, high = own[:2] if len(own) == 3 else PAPER_SIGMA
        cells = st.columns(2)
        low, high = (
            cell.number_input(
                f"{word} σ", 0.0, MOST_SIGMA, value, 0.1, key=f"sigma-{word.lower()}", bind="query-params", format="%g"
            )
            for cell, word, value in zip(cells, ("Low", "High"), (low, high), strict=True)
        )
        return (min(low, high), max(low, high), SIGMA)
    low, high = st.slider(
        "Guidance between noise levels t / T",
        0.0,
        1.0,
        own if len(own) == 2 else (0.0, 1.0),
        0.05,
        key="interval",
        bind="query-params",
        label_visibility="collapsed",
    )
    return (float(low), float(high))


def opened_recipe() -> Recipe | None:
    """A recipe that somebody opened, from the gallery or a file; it stands in for the controls until taken away."""
    kept = st.query_params.get(OPENED, "")
    if kept:
        st.button("Close the gallery entry", key="leave-kept", icon=":material/close:", on_click=_leave_kept)
        return gallery_service.entry_of(kept).recipe()
    key = f"recipe-{st.session_state.get(FILES, 0)}"
    with st.expander("Open a recipe", key="open-recipe", on_change="rerun") as box:
        if not box.open and not st.session_state.get(key):
            return None
        file = st.file_uploader(
            "A PNG, WebP, npz or JSON file saved by this lab",
            type=["png", "webp", "npz", "json"],
            max_upload_size=64,
            key=key,
        )
    return None if file is None else read_recipe(file.getvalue(), where=escaped(file.name, 60))


def _agreed(recipe: Recipe, stage: DeltaGenerator) -> bool:
    """False, with the cost and a button in place of the images, for an opened recipe that is too large to begin by
    itself and that this person has not begun. Raises a LabError."""
    source = source_of(recipe.source)
    if recipe.axes:
        check_axes(recipe, known_of(source), image_size=source.image_size)
    cells = cells_of(recipe, source.settings.diffusion)
    name = generation_service.key_of(recipe)
    if evaluations(cells) <= AT_ONCE or st.session_state.get(BEGUN) == name:
        return True
    with stage, st.container(key="generate-images"):
        st.markdown(f"This recipe is large: {cost_of_cells(recipe, cells)}")
        button, label = st.empty(), f"Generate {counted(len(cells), 'cell')}" if recipe.axes else "Generate its images"
        button.button(label, key="begin-opened", type="primary", on_click=_agree, args=(name,))
    return False


def _agree(name: str) -> None:
    st.session_state[BEGUN] = name


def _leave_kept() -> None:
    st.query_params.pop(OPENED, None)


def use_settings(recipe: Recipe) -> None:
    """Put the settings of a recipe into the controls and generate its images; a recipe that was opened is closed."""
    labels = sorted(set(recipe.labels))
    st.session_state.update(
        {
            "pick-run": recipe.source,
            "pick-classes": [str(label) for label in labels],
            "number": min(16, len(recipe.labels) // len(labels)),
            "steps": recipe.num_inference_steps,
            "seed": recipe.seeds[0],
            "guidance": min(max(recipe.guidance_scale, GUIDANCE[0]), GUIDANCE[1]),
            "rescale": recipe.guidance_rescale,
            **_interval_state(recipe.guidance_interval),
            "sampler": recipe.sampler,
            "pick-checkpoint": str(recipe.step),
            "weights": recipe.weights,
        }
    )
    _leave_kept()
    st.session_state[FILES] = st.session_state.get(FILES, 0) + 1  # a new field holds no file
    _generate()


def _interval_state(interval: Interval) -> dict[str, object]:
    if len(interval) == 2:
        return {"levels": LEVELS[0], "interval": interval}
    return {"levels": SIGMA, "sigma-low": interval[0], "sigma-high": interval[1]}


def with_more(recipe: Recipe, times: int) -> Recipe:
    """The recipe and as many images again, `times` over, with the next seeds; what was there stays as it is."""
    if not times:
        return recipe
    seeds = tuple(seed + more for more in range(times + 1) for seed in recipe.seeds)
    again = {name: getattr(recipe, name) * (times + 1) for name in ("labels", "places", "to_labels", "label_mix")}
    start = recipe.start
    if start is not None:
        start = start.model_copy(update={"places": start.places * (times + 1)})
    return recipe.model_copy(update={**again, "seeds": seeds, "start": start, "batch": len(recipe.labels)})


def may_grow(recipe: Recipe, times: int) -> bool:
    """True when the page may show `times` more of it. A walk ends where it ends, and a branch follows its original."""
    walks = recipe.to_seeds or recipe.to_labels or recipe.branch is not None
    return not walks and len(recipe.labels) * (times + 1) <= MAX_PICTURES


def _more_of(recipe: Recipe) -> int:
    """How many times more the link asks for, as far as the page may show it."""
    asked = st.query_params.get(MORE, "")
    times = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 4 else 0
    return times if may_grow(recipe, times) else 0


def _add_more(times: int) -> None:
    st.query_params[MORE] = str(times)


def _generate() -> None:
    """The settings at hand are the ones to show from now on."""
    st.query_params.pop(MORE, None)
    st.session_state.pop(ASKED, None)
    leave_grid()
    ask_again()


def _next_seed() -> None:
    st.session_state["seed"] += 1
    _generate()


def _to_show(recipe: Recipe, arrived: bool) -> Recipe:
    """The recipe of the images on screen: the settings at hand when the page opens, when *Generate* was pressed and for
    another model; else the one before, and after *Cancel* the last that was finished."""
    asked: Recipe | None = None if arrived else st.session_state.get(ASKED)
    if asked is None or asked.source != recipe.source:
        asked = recipe
    finished: Recipe | None = st.session_state.get(FINISHED)
    if finished is not None and finished.source == recipe.source and was_cancelled(with_more(asked, _more_of(asked))):
        asked = finished
    st.session_state[ASKED] = asked
    return asked


def _buttons(recipe: Recipe, *, any_class: bool) -> tuple[DeltaGenerator, Places]:
    """Generate and the next seed; (the place of a note, those of Cancel, progress and the images so far)."""
    with st.container(key="generate-buttons", horizontal=True):
        words = f"Generate {count(len(recipe.labels))} image" + ("" if len(recipe.labels) == 1 else "s")
        st.button(words, key="generate-now", type="primary", on_click=_generate, disabled=not any_class)
        st.button(":material/casino:", key="dice", on_click=_next_seed, help="Generate with the next seed")
        cancel = st.empty()
    with st.container(key="generate-progress"):
        note, progress = st.empty(), st.empty()
    return note, Places(progress=progress, cancel=cancel, images=st.empty())


def _note(recipe: Recipe, *, stale: bool, any_class: bool) -> str:
    """What the next generation costs, and whether the images on screen are of the settings at hand."""
    if not any_class:
        return "Choose at least one class."
    seconds = seconds_for(recipe)
    cost = f"{count(len(recipe.labels))} × {count(recipe.num_inference_steps)} steps"
    cost += "" if seconds is None else f", about {duration(seconds) if seconds >= 1 else f'{seconds:.1f} s'}"
    return f":orange[:material/history:] The images show earlier settings. {cost}." if stale else f"{cost}."


def show() -> None:
    """Controls in a column, and beside them the images, which the model at hand generates when the page opens."""
    warm(DRAW)
    sources = model_sources()
    if not sources:
        st.markdown("No U-Net yet. Train one (about four minutes on a CPU core with the preset *quick*).")
        st.page_link(page_file("train"), label="Train a model", icon=":material/model_training:")
        return
    arrived = "seed" not in st.session_state
    with st.container(key="generate"):
        column, stage = st.columns([1, 3])
    with column, st.container(key="generate-controls"):
        source = pick_source(sources)
        buttons = st.container()
        recipe, any_class = controls(source)
        grid = grid_form(recipe, source_of(source.id))
        with buttons:
            note, places = _buttons(recipe, any_class=any_class)
    with st.container(key="generate-below"):
        model_line(source, trained_here=sources[0].origin == "run")
        try:
            opened = opened_recipe()
        except LabError as error:
            st.error(escaped(str(error), 300))
            opened = None
        add_a_model()
    if opened is not None and not _agreed(opened, stage):
        note.caption(_note(recipe, stale=False, any_class=any_class))
        return
    shown = opened if opened is not None and opened.axes else None
    if opened is None:
        shown = grid_to_show(grid, source, arrived=arrived)
    if shown is not None:
        note.caption(_note(recipe, stale=shown != grid, any_class=any_class))
        with stage, st.container(key="generate-images"):
            show_grid(shown, source_of(shown.source), use_settings)
        return
    asked = opened or _to_show(recipe, arrived)
    note.caption(_note(recipe, stale=asked != recipe, any_class=any_class))
    with stage, st.container(key="generate-images"):
        _images(asked, source, places, opened=opened is not None, samplers_of=recipe.num_inference_steps)


def _images(asked: Recipe, source: ModelSource, places: Places, *, opened: bool, samplers_of: int) -> None:
    """The images of a recipe, what they are, more of them, and a branch."""
    if "shown-main" not in st.session_state:
        places = replace(places, images=st.empty())
    times = 0 if opened else _more_of(asked)
    drawing = drawn(with_more(asked, times), places=places)
    if drawing is None:
        return
    if not opened:
        st.session_state[FINISHED] = asked
    with st.container(key="generate-head", horizontal=True, vertical_alignment="center"):
        words = f"**{counted(len(drawing.recipe.labels), 'image')}**, seed {drawing.recipe.seeds[0]}"
        st.markdown(words + (f", from the recipe of {escaped(asked.source, 60)}" if opened else ""))
        if not opened and may_grow(asked, times + 1):
            label = f"{count(len(asked.labels))} more"
            st.button(label, key="more", icon=":material/add:", on_click=_add_more, args=(times + 1,))
        saving = st.container(width="content")
    answer, steps, below = show_drawing(drawing, key="scrubber", branch=drawing.recipe.branch is None)
    at = getattr(answer, "branch", None)
    if at is not None:
        st.session_state["branch-at"] = steps[min(int(at), len(steps) - 1)]
    branched = None
    if "branch-at" in st.session_state and drawing.recipe.branch is None:
        samplers = source_of(source.id).settings.diffusion.offered_samplers(samplers_of)[0]
        with below:
            branched = branch_from(drawing, min(int(st.session_state["branch-at"]), int(drawing.steps[-1])), samplers)
    with saving:
        save_menu(drawing, branched, source_title=asked.source if opened else source.title)
