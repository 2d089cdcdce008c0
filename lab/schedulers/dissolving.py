"""A few real pictures dissolving under each schedule: a slider of t, and the first picture's way as a strip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from core.data.one_per_class import ClassImages
from core.diffusion.noise_levels import LEVELS
from core.errors import LabError
from lab.schedulers.dissolving_service import PICTURES, decode_ahead, noised, noised_latents
from lab.schedulers.schedule_service import Spec
from lab.widgets.scrubber import pack, scrubber
from lab.widgets.strip import strip_html
from lab.words import escaped, plain

STRIP_COLUMNS = 7
CAPTIONS = ("The image with noise added", "Its latent with noise added, decoded")


def dissolving(specs: Sequence[Spec], run_id: str, pictures: ClassImages) -> None:
    """Draw the pictures chosen, under all schedules, with the run's decoded latents beside them when there is a run."""
    names = dict(enumerate(pictures.names))
    chosen = st.pills(
        "Images",
        list(names),
        selection_mode="multi",
        default=list(names)[:PICTURES],
        key="pictures",
        format_func=lambda place: escaped(names[place], 30),
        persist_state="session",
        help=f"Held-out images of {plain(pictures.title, 60)}; the first {PICTURES} chosen are shown",
    )
    few = tuple(sorted(chosen or [0])[:PICTURES])
    heads = tuple(pictures.names[place] for place in few)
    images = pictures.images[list(few)]
    latents = bool(run_id)
    try:
        payload, strips = _drawn(tuple(specs), run_id if latents else "", heads, images)
    except LabError as error:
        st.warning(escaped(str(error), 300))
        latents = False
        payload, strips = _drawn(tuple(specs), run_id if latents else "", heads, images)
    scrubber(payload, key="dissolving")
    words = "The same noise under every schedule: drag t, and watch at which t each digit is lost."
    if latents:
        decode_ahead(run_id, pictures)
        words += f" Latents are decoded at the nearest of {LEVELS} noise levels."
    st.caption(words)
    st.html(strips)
    words = f"The image of {escaped(heads[0], 30)} along the way, t in percent of T."
    if {"cosine", "linear"} <= {spec.label for spec in specs}:
        words += (
            " Cosine spreads the loss evenly; linear has lost the digit half-way and spends the rest of its timesteps "
            "on noise."
        )
    st.caption(words)


@st.cache_data(max_entries=24, show_spinner=False)
def _drawn(specs: tuple[Spec, ...], run_id: str, heads: tuple[str, ...], images: np.ndarray) -> tuple[bytes, str]:
    """(what the scrubber gets, the strips as HTML). Raises CheckpointError when the run's VAE cannot be read."""
    layers = [noised(specs, images)]
    if run_id:
        layers.append(noised_latents(specs, run_id, images))
    shares = np.linspace(0, 1, len(layers[0]))
    payload = pack(
        layers,
        [f"t = {share:.0%} of T" for share in shares],
        columns=len(images),
        zoom=max(1, 460 // (len(images) * layers[0].shape[3])),
        heads=[plain(name, 30) for name in heads],
        sides=[plain(spec.label, 40) for spec in specs],
        captions=CAPTIONS[: len(layers)],
        first=len(shares) // 2,
    )
    keep = np.linspace(0, len(shares) - 1, STRIP_COLUMNS).round().astype(int)
    columns = [f"{shares[index]:.0%}" for index in keep]
    strips = [
        strip_html([(spec.label, layer[keep, place * len(images)]) for place, spec in enumerate(specs)], columns, title)
        for layer, title in zip(layers, CAPTIONS, strict=False)
    ]
    return payload, f'<div class="lab-strips">{"".join(strips)}</div>'
