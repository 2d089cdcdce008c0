"""A branch: from one step on other classes, guidance or sampler, shown right under the original on the same axis."""

from __future__ import annotations

import streamlit as st

from core.errors import LabError
from core.sampling.drawing import Drawing
from core.sampling.recipe import BranchRecipe, Recipe
from lab.generate.generation_progress import drawn, places_in_a_row
from lab.generate.generation_view import show_drawing
from lab.words import plain, sentence

KEEP = "unchanged"


def branch_from(drawing: Drawing, at: int, samplers: list[str]) -> Drawing | None:
    """Controls of the branch at network evaluation `at`, and its images, which are returned once they are there."""
    total = int(drawing.steps[-1])
    st.markdown(f"##### Branch from step {at} of {total}")
    recipe = drawing.recipe
    cells = st.columns([2, 2, 3, 1], vertical_alignment="bottom")
    names = [KEEP, *(plain(name, 40) for name in drawing.class_names)]
    another = 1 + (recipe.labels[0] + 1) % len(drawing.class_names)  # the same class would show nothing new
    label = cells[0].selectbox("Class", range(len(names)), another, format_func=names.__getitem__, key="branch-label")
    sampler = cells[1].selectbox("Sampler", [KEEP, *samplers], key="branch-sampler")
    scale = cells[2].slider("Guidance", 1.0, 8.0, float(max(1.0, recipe.guidance_scale)), 0.25, key="branch-guidance")
    if cells[3].button("Close", key="branch-close"):
        st.session_state.pop("branch-at", None)
        st.rerun()
    try:
        changed = with_branch(recipe, at, label - 1, "" if sampler == KEEP else str(sampler), scale)
        branched = drawn(changed, places=places_in_a_row(), slot="branch")
    except LabError as error:
        st.error(sentence(error), icon=":material/error:")
        return None
    if branched is None:
        return None
    show_drawing(branched, key="branch-scrubber")
    st.caption(
        f"Up to step {at} this is the original above. The earlier you branch, the more of each image can still change."
    )
    return branched


def with_branch(recipe: Recipe, at: int, label: int, sampler: str, scale: float) -> Recipe:
    """The recipe of the branch; label -1 and sampler '' keep the original's."""
    branch = BranchRecipe(
        at=at,
        labels=() if label < 0 else (label,) * len(recipe.labels),
        sampler="" if sampler == recipe.sampler else sampler,
        guidance_scale=scale,
        guidance_rescale=recipe.guidance_rescale,
        guidance_interval=recipe.guidance_interval,
    )
    return recipe.model_copy(update={"branch": branch})
