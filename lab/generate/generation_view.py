"""Generated images on the screen: the scrubber with its layers and curves, and the menu that saves them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.evaluation.nearest_results import Nearest
from core.mosaic import mosaic
from core.runs.film import HELD, PREDICTED, Film
from core.runs.film_export import animation
from core.sampling.drawing import Drawing
from core.sampling.recipe import exif_with_recipe, npz_with_recipe, png_with_recipe
from lab.generate.gallery import keep_form
from lab.generate.generation_analysis import analyze, show_analysis
from lab.generate.generation_analysis_service import Odds
from lab.services.models import source_of
from lab.widgets.choice import choose
from lab.widgets.scrubber import (
    Beside,
    Curve,
    Layer,
    frames_that_fit,
    pack_layers,
    scrubber,
    side_by_side,
    signed_levels,
    tiled,
)
from lab.words import escaped, plain

ENOUGH_FRAMES = 11
WIDEST = 1500  # pixels of the screen: images grow with the window up to this width
KEYS = """
- Left and right: previous and next step; Home and End: first and last
- Space: play or pause
- Page Up and Page Down: previous and next image; Escape: no image
- B: branch from this step
- S: the *Save* menu

Details that appear early and stay are easy for the network. Details that flicker are decided late.
"""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What the browser gets of a drawing, and the network evaluations before each of its frames."""

    payload: bytes
    steps: tuple[int, ...]


def show_drawing(drawing: Drawing, *, key: str, branch: bool = False) -> tuple[Any, tuple[int, ...], DeltaGenerator]:
    """(the scrubber's answer, network evaluations before each of its frames, the place right under the scrubber).

    The answer says at which frame a branch was asked for. What is known of the images stands below that place.
    """
    for note in drawing.notes:
        st.caption(f":material/info: {escaped(note, 300)}")
    facts = source_of(drawing.recipe.source)
    looks = analyze(drawing, facts, key=key)
    packed = pack_drawing(drawing, looks.odds, looks.nearest, branch=branch)
    answer = scrubber(packed.payload, key=key)
    below = st.container()
    if branch:
        st.caption("Click an image to follow it. Arrow keys move the step.", help=KEYS)
    show_analysis(drawing, facts, looks, key=key)
    return answer, packed.steps, below


@st.cache_resource(max_entries=8, show_spinner=False, hash_funcs={Drawing: id, Odds: id, Nearest: id})
def pack_drawing(
    drawing: Drawing, odds: Odds | None = None, nearest: Nearest | None = None, *, branch: bool = False
) -> Packed:
    """Everything known about the images in one payload, cached for the newest: a rerun of the page packs nothing."""
    order, columns, heads, sides = side_by_side(drawing.labels)
    recipe = drawing.recipe
    frames, size = len(drawing.steps), drawing.noisy_images.shape[3]
    every = 1  # many large pictures are sent with fewer frames, then with fewer pixels
    while (most := frames_that_fit(frames, len(order), columns, -(-size // every))) < min(frames, ENOUGH_FRAMES):
        every *= 2
    keep = np.unique(np.linspace(0, frames - 1, most).round().astype(int))
    share = drawing.noise_scale**2 / (drawing.noise_scale**2 + drawing.signal_scale**2)
    total, size = int(drawing.steps[-1]), -(-size // every)
    words = [
        f"step {drawing.steps[index]} of {total} · t = {drawing.timesteps[index]:.0f} · {share[index]:.0%} noise"
        for index in keep
    ]
    names = [plain(drawing.class_names[drawing.labels[place]], 40) for place in order]
    payload = pack_layers(
        _layers(drawing, order, keep, every),
        words,
        columns=columns,
        zoom=max(1, round((WIDEST if columns >= 8 else WIDEST / 2) / (columns * (size + 1)))),
        heads=[plain(drawing.class_names[label], 40) for label in heads],
        sides=[plain(drawing.class_names[label], 40) for label in sides],
        names=names,
        curves=_curves(drawing, order, keep),
        odds=None if odds is None else odds.probabilities[keep][:, order],
        classes=[plain(name, 40) for name in drawing.class_names],
        asked=[asked_of(drawing, place) for place in order],
        nearest=None if nearest is None else _beside(drawing, nearest, order, every),
        branch=branch,
        since=0 if recipe.branch is None else int(np.searchsorted(drawing.steps[keep], recipe.branch.at)),
    )
    return Packed(payload=payload, steps=tuple(int(drawing.steps[index]) for index in keep))


def asked_of(drawing: Drawing, place: int) -> int:
    """The class that an image should be: on a walk between classes the nearer of both ends."""
    recipe = drawing.recipe
    branched = recipe.branch is not None and recipe.branch.labels
    if recipe.label_mix and not branched and recipe.label_mix[place] > 0.5:
        return recipe.to_labels[place]
    return drawing.labels[place]


def _beside(drawing: Drawing, nearest: Nearest, order: list[int], every: int) -> Beside:
    names = [plain(drawing.class_names[nearest.labels[place]], 40) for place in order]
    return Beside(
        pictures=nearest.pictures[order][:, ::every, ::every],
        titles=[f"Nearest training image: {name}" for name in names],
        words=[f"No. {nearest.places[place]:,}, {nearest.in_words(place)}" for place in order],
    )


def animated(drawing: Drawing) -> bytes:
    """Every step as an animation, made when it is asked for, with the recipe inside."""
    order, columns, _, _ = side_by_side(drawing.labels)
    total = int(drawing.steps[-1])
    words = [f"step {step} of {total} · t = {t:.0f}" for step, t in zip(drawing.steps, drawing.timesteps, strict=True)]
    film = Film(
        run_id=drawing.recipe.source,
        steps=(0,),
        steps_total=0,
        timesteps=tuple(float(t) for t in drawing.timesteps),
        labels=tuple(drawing.labels[place] for place in order),
        class_names=drawing.class_names,
        every=1,
        left_out=0,
        layers={HELD: drawing.noisy_images[None, :, order], PREDICTED: drawing.predicted_images[None, :, order]},
    )
    return animation(film, axis="denoising", words=words, columns=columns, exif=exif_with_recipe(drawing.recipe))


def save_menu(drawing: Drawing, branched: Drawing | None, *, source_title: str) -> None:
    """All that can be taken home: PNG, npz, WebP and recipe, each with the recipe inside, and the gallery.

    branched: the branch that stands under the images; then one chooses which of both. The files are made when they are
    asked for: a rerun of the page makes none.
    """
    with st.popover("Save", icon=":material/download:"):
        if branched is not None:
            offered = {"images": "The images", "branch": "The branch"}
            if choose("Save", offered, key="save-which", in_url=False, label_shown=False) == "branch":
                drawing = branched
        for label, data, name, kind in (
            ("Image (PNG)", partial(picture_of, drawing), "samples.png", "image/png"),
            ("Arrays (npz)", partial(_arrays, drawing), "samples.npz", "application/octet-stream"),
            ("Animation (WebP)", partial(animated, drawing), "samples.webp", "image/webp"),
            ("Recipe (JSON)", drawing.recipe.to_json, "recipe.json", "application/json"),
        ):
            st.download_button(label, data, name, kind, key=f"drawing-{name}", type="tertiary")
        st.caption(
            f"Generated on {escaped(drawing.device, 60)}. Each file contains the recipe. The address of this "
            "page shares its settings.",
            help="Open a recipe below the images. The same weights on the same machine reproduce the images exactly.",
        )
        keep_form(partial(picture_of, drawing), source_title=source_title, device=drawing.device, key="drawing")


def picture_of(drawing: Drawing) -> bytes:
    """All images in one PNG, with the recipe inside."""
    order, columns, _, _ = side_by_side(drawing.labels)
    zoom = max(1, min(4, 2048 // (columns * (drawing.images.shape[2] + 1))))
    return png_with_recipe(mosaic(drawing.images[order], columns=columns, zoom=zoom), drawing.recipe)


def _arrays(drawing: Drawing) -> bytes:
    return npz_with_recipe(drawing.images, drawing.labels, drawing.recipe)


def _layers(drawing: Drawing, order: list[int], keep: np.ndarray, every: int) -> list[Layer]:
    def pictures(images: np.ndarray) -> np.ndarray:
        return images[keep][:, order][:, :, ::every, ::every]

    found = [
        Layer(
            name="noisy",
            title="Current sample",
            caption="Current sample: the noisy image at this step",
            pictures=pictures(drawing.noisy_images),
        ),
        Layer(
            name="clean",
            title="Predicted x0",
            caption="Predicted x0: the clean image at this step",
            pictures=pictures(drawing.predicted_images),
        ),
    ]
    layers = drawing.layers
    if layers is None:
        return found
    noise = tiled(layers.predicted_noise[keep][:, order].astype(np.float32))
    found.append(
        Layer(
            name="noise",
            title="Noise",
            caption="Predicted noise, latent channels side by side",
            pictures=signed_levels(noise),
            signed=True,
            shown=False,
        )
    )
    if layers.guidance_change is not None:
        change = pictures(layers.guidance_change).astype(np.float32).mean(axis=-1, keepdims=True)
        found.append(
            Layer(
                name="guidance",
                title="Guidance",
                caption="What guidance adds (red) and removes (blue)",
                pictures=signed_levels(change),
                signed=True,
                shown=False,
            )
        )
    return found


def _curves(drawing: Drawing, order: list[int], keep: np.ndarray) -> list[Curve]:
    if drawing.layers is None:
        return []
    curves = drawing.layers.curves
    size = "Root mean square. Near 1 at both ends; growing far beyond 1 means that the solver diverges."
    return [
        Curve(
            title="log-SNR",
            how="Signal over noise at this step. It rises during sampling.",
            values=curves.log_snr[keep],
        ),
        Curve(title="Size of latents", how=size, values=curves.latent_norm[keep][:, order]),
        Curve(
            title="Guidance",
            how="How far guidance moves the prediction. Near 0 it changes nothing more.",
            values=curves.guidance_strength[keep][:, order],
        ),
        Curve(
            title="Straightness",
            how="1 = a straight path to the image. Lower values need more steps.",
            values=curves.straightness[keep][:, order],
        ),
    ]
