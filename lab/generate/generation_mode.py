"""Other ways to begin a drawing: a walk between two seeds or two classes, or a real picture noised to some step."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.model_folders.sources import ModelSource
from core.sampling.recipe import Recipe, StartRecipe
from lab.widgets.scrubber import MAX_PICTURES
from lab.widgets.url_selectbox import pick
from lab.words import plain

WAYS = {
    "classes": "Classes",
    "seeds": "Walk between seeds",
    "between": "Walk between classes",
    "picture": "Real picture",
}
WHY_NOT = "draws new noise at every step, so that a walk would not end in the picture of the other seed"
READ = {
    "seeds": "The noise turns from one seed to the other along the sphere, the class stays. A good model changes the "
    "picture smoothly; jumps are places where the class is decided by little.",
    "between": "The noise stays, the class turns into the other. What lies between is no class that it has seen.",
    "picture": "Image to image (arXiv 2108.01073): a held-out picture gets the noise of that step, and the model takes "
    "it out again. Early steps keep nothing of the picture, late ones nearly all.",
}


def choose_mode() -> str:
    """A key of WAYS, in the URL."""
    return pick("Draw", WAYS, "way")


def along(way: str, recipe: Recipe, facts: ModelSource) -> Recipe:
    """The recipe of that way; its first class is where a walk begins."""
    if way == "classes":
        return recipe
    label, seed = recipe.labels[0], recipe.seeds[0]
    names = [plain(name, 40) for name in facts.class_names]
    cells = st.columns(3)
    number = int(cells[0].slider("Pictures", 3, 16, 10, key="way-number", bind="query-params"))
    shares = tuple(round(float(share), 6) for share in np.linspace(0, 1, number))
    found = recipe.model_copy(update={"labels": (label,) * number, "seeds": (seed,) * number, "places": ()})
    if way == "seeds":
        other = int(cells[1].number_input("To seed", 0, 2**31 - 2, 1, key="to-seed", bind="query-params"))
        found = found.model_copy(update={"to_seeds": (other,) * number, "noise_mix": shares})
    elif way == "between":
        to = int(
            cells[1].number_input(
                "To class",
                0,
                len(names) - 1,
                min(7, len(names) - 1),
                key="to-class",
                bind="query-params",
                help=", ".join(names[:20]),
            )
        )
        found = found.model_copy(update={"to_labels": (to,) * number, "label_mix": shares})
    else:
        place = int(cells[1].number_input("Held-out picture", 0, 99_999, 0, key="from-picture", bind="query-params"))
        last = max(0, recipe.num_inference_steps - 1)
        at = (
            0
            if last == 0
            else int(cells[2].slider("Begin at step", 0, last, last // 2, key="from-step", bind="query-params"))
        )
        labels = recipe.labels[:MAX_PICTURES]
        found = recipe.model_copy(
            update={"start": StartRecipe(at=at, fingerprint=facts.fingerprint, places=(place,) * len(labels))}
        )
    st.caption(READ[way])
    return found
