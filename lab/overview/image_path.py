"""The path of an image through the models, drawn with real stages of the bundled demo; every part opens its page."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from core.data.npz_file import arrays_in
from lab.frame.state import page_file
from lab.widgets.latent_colors import diverging
from lab.widgets.pictures import png

PATH_FILE = Path(__file__).with_name("path.npz")  # made by benchmarks/overview_path.py
LATENT_LIMIT = 3.0  # standard deviations at both ends of the scale
SHAPES = {
    "encoder": ("#7C3AED", '<path d="M2 2 L58 24 V72 L2 94 Z"/>'),
    "decoder": ("#7C3AED", '<path d="M58 2 L2 24 V72 L58 94 Z"/>'),
    "scheduler": ("#D97706", '<circle cx="30" cy="48" r="17"/><path d="M30 40 V56 M22 48 H38"/>'),
    "unet": ("#0D9488", '<path d="M2 2 L24 32 H38 L60 2 V94 L38 64 H24 L2 94 Z"/>'),
}


@dataclass(frozen=True, kw_only=True)
class Part:
    """One stop of the path: `stage` names an array of path.npz or a shape of SHAPES."""

    stage: str
    name: str
    words: str
    page: str


PARTS = (
    Part(stage="image", name="Image", words="{pixels} pixels from a dataset", page="data"),
    Part(stage="encoder", name="VAE encoder", words="compresses it; trained first", page="train"),
    Part(stage="latent", name="Latent", words="{latent} numbers", page="latents"),
    Part(stage="scheduler", name="Scheduler", words="adds a known amount of noise", page="schedulers"),
    Part(stage="noisy_latent", name="Noisy latent", words="image and noise mixed", page="schedulers"),
    Part(stage="unet", name="U-Net", words="removes noise; trained second", page="train"),
    Part(stage="clean_latent", name="Clean latent", words="after some steps of denoising", page="generate"),
    Part(stage="decoder", name="VAE decoder", words="expands it to pixels", page="latents"),
    Part(stage="generated", name="New image", words="of the class you ask for", page="generate"),
)


@st.cache_data(show_spinner=False)
def stages() -> dict[str, np.ndarray]:
    """image and generated (H, W, 1) uint8; latent, noisy_latent and clean_latent (c, h, w), normalized."""
    return arrays_in(PATH_FILE)


def image_path() -> None:
    """The parts in a row, each a link over its image, name and meaning."""
    found, theme = stages(), str(st.context.theme.type)
    height, width, _ = found["image"].shape
    facts = {"pixels": f"{height} × {width}", "latent": " × ".join(map(str, found["latent"].shape))}
    with st.container(key="lab-path", horizontal=True, wrap=False, gap=None):
        for part in PARTS:
            with st.container(key=f"lab-path-{part.stage}", gap=None):
                st.html(_drawn(part.stage, found, theme))
                st.page_link(page_file(part.page), label=part.name, width="stretch")
                st.caption(part.words.format(**facts))


def _drawn(stage: str, found: dict[str, np.ndarray], theme: str) -> str:
    if stage in SHAPES:
        color, shape = SHAPES[stage]
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 98" width="64" height="98"><g fill="{color}" '
        drawn = f'{head}stroke="{color}" fill-opacity="0.15" stroke-width="1.5">{shape}</g></svg>'
        return _image("lab-shape", "image/svg+xml", drawn.encode())
    pixels = found[stage]
    if pixels.dtype == np.uint8:
        return _image("lab-stage", "image/png", png(pixels))
    channels = diverging(pixels, limit=LATENT_LIMIT, theme=theme)
    return f'<div class="lab-channels">{"".join(_image("", "image/png", png(channel)) for channel in channels)}</div>'


def _image(name: str, kind: str, data: bytes) -> str:
    return f'<img class="{name}" alt="" src="data:{kind};base64,{base64.b64encode(data).decode()}">'
