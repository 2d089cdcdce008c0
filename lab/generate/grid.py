"""X/Y/Z grid: up to three of the settings at hand take several values, and every combination is a cell."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import streamlit as st
from streamlit.errors import StreamlitAPIException

from core.comparison.grid import Value, allowed_samplers
from core.comparison.grid_picture import axis_words, cell_picture, grid_picture, in_words
from core.comparison.recipe_grid import (
    GRID_SETTINGS,
    CellImages,
    GridCell,
    axis_from,
    cells_of,
    check_axes,
    evaluations,
    with_axes,
)
from core.errors import LabError, UsageError
from core.model_folders.sources import ModelSource
from core.sampling.recipe import Recipe, png_with_recipe
from core.words import count, counted, duration
from lab.frame.live_fragment import live_part, page_again
from lab.generate import grid_service
from lab.generate.gallery import keep_form
from lab.generate.generation_progress import ME, seconds_for_evaluations
from lab.generate.grid_service import Look
from lab.services import background
from lab.services.background import Work
from lab.widgets.image_grid import image_grid, pack_grid
from lab.widgets.url_selectbox import pick, pick_many
from lab.words import SETTING_NAMES, escaped, plain, sentence

AXES = {"x": "X: columns", "y": "Y: rows", "z": "Z: one grid per value"}
NONE = ""
TYPED = {"num_inference_steps": "5, 10, 20", "guidance_scale": "1, 1.5, 2", "guidance_rescale": "0, 0.5", "seed": "0-3"}
GUIDANCE = (1.0, 5.0)  # lowest and highest of the slider
SHOWN = "grid"  # the query parameter: whether the grid is shown instead of the images
ASKED, WAITS, CANCELLED = "grid-asked", "grid-waits", "grid-cancelled"
AT_ONCE = 50_000  # evaluations that opening a link may cost
LOOK_AGAIN_S = 0.4


def known_of(source: ModelSource) -> dict[str, Sequence[Value]]:
    """Setting → all values that it can take with this model, where they can be listed."""
    return {
        "sampler": allowed_samplers(source.settings.diffusion),
        "label": range(len(source.class_names)),
        "step": source.steps,
        "weights": source.weights,
    }


def grid_form(recipe: Recipe, source: ModelSource) -> Recipe | None:
    """Choose the axes, all in the URL, and see what the grid costs; the grid at hand, None while there is none."""
    with st.expander("X/Y/Z grid", expanded="x" in st.query_params, icon=":material/grid_on:"):
        known = known_of(source)
        texts = _axes(known, source.class_names)
        if not texts:
            st.caption("Choose a setting: every value becomes a column. All other settings stay.")
            return None
        try:
            found = with_axes(recipe, [axis_from(setting, text, known) for setting, text in texts.items()])
            check_axes(found, known, image_size=source.image_size)
            if not all(_fits(guidance) for guidance in _guidances(found)):
                raise UsageError(f"guidance_scale: this page takes {GUIDANCE[0]:g} to {GUIDANCE[1]:g}")
        except LabError as error:
            st.error(_worded(error, texts))
            return None
        cells = cells_of(found, source.settings.diffusion)
        st.caption(cost_of_cells(found, cells))
        label = f"Generate {counted(len(cells), 'cell')}"
        st.button(label, key="grid-now", icon=":material/grid_on:", on_click=_generate, width="stretch")
        return found


def _guidances(recipe: Recipe) -> list[float]:
    axes = {axis.setting: axis.values for axis in recipe.axes}
    return [float(value) for value in axes.get("guidance_scale", ())]


def _fits(guidance: float) -> bool:
    return GUIDANCE[0] <= guidance <= GUIDANCE[1]


def _axes(known: Mapping[str, Sequence[Value]], class_names: Sequence[str]) -> dict[str, str]:
    """Setting → its values as text, X first. The next axis is offered once one is chosen."""
    texts: dict[str, str] = {}
    for name, label in AXES.items():
        left = [each for each in SETTING_NAMES if each not in texts and len(known.get(each, (0, 1))) > 1]
        setting = pick(label, {NONE: "none", **{each: SETTING_NAMES[each] for each in left}}, name)
        if setting == NONE:
            break
        texts[setting] = _values(setting, known, class_names)
    rest = list(AXES)[len(texts) + 1 :]
    for param in (*rest, *(_param(each) for each in GRID_SETTINGS if each not in texts)):
        with contextlib.suppress(StreamlitAPIException):  # of a field that stood a moment ago and takes its own away
            st.query_params.pop(param, None)
    return texts


def _values(setting: str, known: Mapping[str, Sequence[Value]], class_names: Sequence[str]) -> str:
    if setting in known:
        names = {str(value): _short(setting, value, class_names) for value in known[setting]}
        return ",".join(pick_many(f"{SETTING_NAMES[setting]} values", names, _param(setting), list(names)[:3]))
    return st.text_input(
        f"{SETTING_NAMES[setting]} values",
        TYPED[setting],
        key=_param(setting),
        bind="query-params",
        help="Values with commas between them. 5-20(5) means 5, 10, 15, 20.",
    )


def _param(setting: str) -> str:
    return f"{setting}-values"


def _short(setting: str, value: Value, class_names: Sequence[str]) -> str:
    if setting == "label":
        return plain(class_names[int(value)], 40)
    return count(int(value)) if setting == "step" else in_words(setting, value, class_names)


def _worded(error: LabError, settings: Mapping[str, str]) -> str:
    """The sentence, with the names that stand on this page."""
    message = error.message
    for setting in settings:
        message = message.replace(f"{setting}:", f"{SETTING_NAMES[setting]}:")
    return sentence(LabError(message, error.hint))


def cost_of_cells(recipe: Recipe, cells: Sequence[GridCell]) -> str:
    """'12 cells × 10 images: 4,200 evaluations, about 3 s. 2 not possible.'"""
    drawn = [cell for cell in cells if not cell.problem]
    each = len(drawn[0].recipe.labels) if drawn else 0
    total = evaluations(cells)
    words = f"{counted(len(drawn), 'cell')} × {count(each)} images: {count(total)} evaluations"
    seconds = seconds_for_evaluations(recipe.source, total)
    words += "" if seconds is None else f", about {duration(max(1.0, seconds))}"
    refused = len(cells) - len(drawn)
    return f"{words}." + (f" {count(refused)} not possible." if refused else "")


def _generate() -> None:
    """The grid at hand is the one to show from now on; what failed or was cancelled is tried again."""
    work = background.find(st.session_state.get(WAITS, ""))
    if work is not None and work.is_done and (work.problem is not None or _failed(work.look or {})):
        background.forget(work)
    for name in (ASKED, CANCELLED):
        st.session_state.pop(name, None)
    st.query_params[SHOWN] = "1"


def _failed(look: Look) -> tuple[int, ...]:
    """The cells that were asked for and could not be generated."""
    return tuple(place for place, cell in look.items() if cell.problem)


def leave_grid() -> None:
    """Show images from now on; the grid that nobody waits for any more is cancelled."""
    st.query_params.pop(SHOWN, None)
    st.session_state.pop(ASKED, None)
    _wait_for("")


def _wait_for(key: str) -> str:
    """This session waits for the work of that key only; who is waiting."""
    me = str(st.session_state.setdefault(ME, uuid.uuid4().hex))
    before = st.session_state.get(WAITS, "")
    if before and before != key:
        background.leave(before, me)
    st.session_state[WAITS] = key
    return me


def grid_to_show(grid: Recipe | None, source: ModelSource, *, arrived: bool) -> Recipe | None:
    """The grid on screen: the one at hand when a link opens and when its button was pressed, else the one before."""
    if SHOWN not in st.query_params:
        return None
    asked: Recipe | None = None if arrived else st.session_state.get(ASKED)
    if asked is None or asked.source != source.id:
        asked = grid
    if asked is None or (arrived and evaluations(cells_of(asked, source.settings.diffusion)) > AT_ONCE):
        leave_grid()
        return None
    st.session_state[ASKED] = asked
    return asked


def show_grid(recipe: Recipe, source: ModelSource, use: Callable[[Recipe], None]) -> None:
    """The grid as it comes, with progress and a way out. use(recipe) takes the settings of a cell over.

    Raises a LabError for axes that this model cannot have.
    """
    check_axes(recipe, known_of(source), image_size=source.image_size)
    cells = cells_of(recipe, source.settings.diffusion)
    key = grid_service.key_of(recipe)
    me = _wait_for(key)
    work = background.find(key)
    mine = st.session_state.get(CANCELLED) == key
    if work is None or (work.is_cancelled and work.result is None and not mine):
        work = grid_service.begin(recipe, cells, watcher=me)
    elif work.goes_on:
        work.watchers.add(me)
    names = axis_words(recipe, source.class_names)
    with st.container(key="generate-head", horizontal=True, vertical_alignment="center"):
        noise = "" if any(axis.setting == "seed" for axis in recipe.axes) else f", seed {recipe.seeds[0]}"
        st.markdown(f"**{counted(len(cells), 'cell')}**{noise}")
        _save_menu(recipe, work, source)
        st.button("Back to images", key="grid-close", icon=":material/arrow_back:", on_click=leave_grid)
    side = source.settings.data.image_size
    height, width, _ = cell_picture(np.zeros((len(cells[0].recipe.labels), side, side, 1), np.uint8)).shape
    ended = work.is_done  # one fragment before and after: a cell chosen while it ends stays chosen
    live_part(every_s=None if ended else LOOK_AGAIN_S)(_part)(work, ended, cells, names, (width, height), use)


def _part(
    work: Work,
    ended: bool,
    cells: Sequence[GridCell],
    names: tuple[list[str], ...],
    size: tuple[int, int],
    use: Callable[[Recipe], None],
) -> None:
    """The cells that are there, and above them either progress or what to do with the chosen one.

    ended: whether the page knows that the grid is there; else the page is drawn again with the tick that sees it.
    """
    look: Look = work.look or {}
    refused = {cell.index: cell.problem for cell in cells if cell.problem}
    line = st.container(key="grid-line", horizontal=True, vertical_alignment="center")
    packed = _packed(work.key, len(look), _failed(look), look, refused, names, size)
    picked = image_grid(packed, key=f"image-{work.key}")
    if work.is_done and not ended:
        page_again()
    with line:
        if not work.is_done:
            st.progress(work.fraction, text=f"Cell {count(len(look))} of {count(len(cells) - len(refused))}")
            st.button("Cancel", key="grid-cancel", on_click=_cancel, args=(work.key,))
            return
        cell = cells[picked] if picked is not None and picked in look else None
        usable = cell is not None and _fits(cell.recipe.guidance_scale)
        if st.button("Use these settings", key="grid-use", icon=":material/tune:", disabled=not usable) and cell:
            use(cell.recipe)
            st.rerun()  # the controls lie outside this part
        st.markdown(_told(work, cell, len(look), names))
    for note in sorted({found.note for found in look.values() if found.note}):
        st.caption(f":material/info: {escaped(note, 300)}")


def _told(work: Work, cell: GridCell | None, there: int, names: tuple[list[str], ...]) -> str:
    """One sentence: which cell is chosen, or what came of the grid."""
    if cell is not None:
        x, y, _ = names
        places = (cell.index % len(x), cell.index // len(x) % len(y), cell.index // (len(x) * len(y)))
        return escaped(", ".join(filter(None, (each[place] for each, place in zip(names, places, strict=True)))), 200)
    if work.problem and work.is_cancelled:
        return f"Cancelled after {counted(there, 'cell')}."
    return sentence(work.problem) if work.problem else "Choose a cell to see its settings."


@st.cache_resource(max_entries=4, show_spinner=False)
def _packed(
    key: str,
    there: int,
    failed: tuple[int, ...],
    _look: Look,
    _refused: Mapping[int, str],
    _names: tuple[list[str], ...],
    _size: tuple[int, int],
) -> bytes:
    """Packed once for as many cells as there are: a click packs nothing."""
    pictures = {place: cell_picture(cell.images) for place, cell in _look.items() if cell.images is not None}
    problems = {**_refused, **{place: _look[place].problem for place in failed}}
    return pack_grid(pictures, problems, _names, size=_size)


def _cancel(key: str) -> None:
    background.leave(key, st.session_state[ME])
    st.session_state[CANCELLED] = key


def _save_menu(recipe: Recipe, work: Work, source: ModelSource) -> None:
    """PNG with labels, recipe, and the gallery, once the grid is there."""
    look: Look = work.look or {}
    there = work.is_done and any(cell.images is not None for cell in look.values())
    with st.popover("Save", icon=":material/download:", disabled=not there):
        if not there:
            return
        hashes = {cell.weights_sha256 for cell in look.values() if cell.weights_sha256}
        written = recipe.written_now(hashes.pop() if len(hashes) == 1 else "")
        picture = partial(png_of, written, source, look)
        st.download_button("Grid (PNG)", picture, "grid.png", "image/png", key="grid-png", type="tertiary")
        st.download_button(
            "Recipe (JSON)", written.to_json, "grid.json", "application/json", key="grid-json", type="tertiary"
        )
        st.caption("Both contain the recipe.", help="Open it below the images to generate the grid again.")
        keep_form(picture, source_title=source.title, device="", key="grid")


def png_of(recipe: Recipe, source: ModelSource, look: Mapping[int, CellImages]) -> bytes:
    """The cells that are there with their labels, and the recipe inside."""
    pictures: list[np.ndarray | None] = []
    for cell in cells_of(recipe, source.settings.diffusion):
        images = look[cell.index].images if cell.index in look else None
        pictures.append(None if images is None else cell_picture(images))
    return png_with_recipe(grid_picture(pictures, axis_words(recipe, source.class_names)), recipe)
