"""Other ways to begin: a walk between two seeds or two classes, or a real image noised to some step."""

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
    "picture": "Real image",
}
WHY_NOT = "adds new noise at every step, so the last image would not be that of the other seed"
READ = {
    "seeds": "The noise moves from one seed to the other; the class stays. A good model changes the image smoothly.",
    "between": "The noise stays; the class changes into the other. The model never saw the classes between.",
    "picture": "Adds noise to a validation image and removes it again. Late steps preserve nearly all of the image.",
}


def choose_mode() -> str:
    """A key of WAYS, in the URL."""
    return pick("Start from", WAYS, "way")


def along(way: str, recipe: Recipe, facts: ModelSource) -> Recipe:
    """The recipe of that way; its first class is where a walk begins."""
    if way == "classes":
        return recipe
    label, seed = recipe.labels[0], recipe.seeds[0]
    names = [plain(name, 40) for name in facts.class_names]
    number = int(st.slider("Images", 3, 16, 10, key="way-number", bind="query-params"))
    shares = tuple(round(float(share), 6) for share in np.linspace(0, 1, number))
    found = recipe.model_copy(update={"labels": (label,) * number, "seeds": (seed,) * number, "places": ()})
    if way == "seeds":
        other = int(st.number_input("To seed", 0, 2**31 - 2, 1, key="to-seed", bind="query-params"))
        found = found.model_copy(update={"to_seeds": (other,) * number, "noise_mix": shares})
    elif way == "between":
        to = int(
            st.number_input(
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
        place = int(st.number_input("Validation image", 0, 99_999, 0, key="from-picture", bind="query-params"))
        last = max(0, recipe.num_inference_steps - 1)
        at = (
            0
            if last == 0
            else int(st.slider("Start at step", 0, last, last // 2, key="from-step", bind="query-params"))
        )
        labels = recipe.labels[:MAX_PICTURES]
        found = recipe.model_copy(
            update={"start": StartRecipe(at=at, fingerprint=facts.fingerprint, places=(place,) * len(labels))}
        )
    st.caption(READ[way])
    return found
