"""Overview without a run: one button, the path of an image, and what the bundled model generates."""

from __future__ import annotations

import base64
import html

import numpy as np
import streamlit as st

from core.data.decoding import opened_picture
from core.errors import DataUnavailable, LabError
from core.model_folders.model_facts import GRID_FILE
from core.model_folders.sources import FolderSource
from core.mosaic import mosaic
from core.words import count
from lab.frame.start_button import press_token
from lab.frame.state import page_file, who
from lab.overview.image_path import image_path
from lab.services import datasets
from lab.services.models import model_sources
from lab.services.room import turn_of
from lab.train.training_service import settings_for, start
from lab.widgets.pictures import png
from lab.words import escaped, sentence

STARTED = "overview-started"
GRID_ROWS = GRID_COLUMNS = 10  # of the picture in a model folder: one class per row
SHOWN_PER_CLASS = 8
MORE: tuple[tuple[str, dict[str, str], str, str], ...] = (
    (
        "data",
        {datasets.ADD: "1"},
        "Import your own images",
        "A folder with one subfolder per class, a zip, or an .npz file.",
    ),
    (
        "generate",
        {"add-model": "true"},
        "Import a model",
        "One exported by this lab, or a diffusers pipeline in safetensors.",
    ),
    ("schedulers", {}, "Look at the noise first", "How noise enters an image, and how each sampler removes it."),
)


def empty_lab() -> None:
    """What this lab is for, and the button that trains the first two models."""
    st.title("Nothing trained yet")
    st.markdown(
        "Train a VAE and then a U-Net on MNIST, and watch digits appear. It takes about four minutes on two CPU cores "
        "and continues when you close this tab."
    )
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        pressed = st.button("Train both on MNIST", type="primary", icon=":material/play_arrow:")
        st.page_link(page_file("train"), label="Choose settings first", width="content")
        turn = turn_of(settings_for("quick", {}), "vae")
        look = ":green[:material/check_circle: " if turn.at_once else ":gray[:material/schedule: "
        st.caption(f"{look}{escaped(turn.words, 300)}]", width="content")
    token = press_token(pressed)
    if pressed:
        try:
            with st.spinner("Preparing the dataset", show_time=True):
                quick = settings_for("quick", {})
                ids = start("all", quick, preset="quick", name="First light", owner=who(), token=token)
        except LabError as error:
            st.error(sentence(error), icon=":material/error:")
        else:
            st.session_state[STARTED] = ids[0]
            st.rerun()
    st.subheader("The path of an image")
    st.caption(
        "Training goes from left to right. Generating starts in the middle, from noise. Every part opens a page."
    )
    image_path()
    _demo()
    for column, (page, query, label, words) in zip(st.columns(len(MORE), gap="medium"), MORE, strict=True):
        with column:
            st.page_link(page_file(page), label=f"**{label}**", query_params=query)
            st.caption(words)


def _demo() -> None:
    """The picture that the bundled model's folder holds, class by class."""
    source = next(
        (found for found in model_sources() if isinstance(found, FolderSource) and found.origin == "demo"), None
    )
    per_class = _grid(source) if source else None
    if source is None or per_class is None:
        return
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
        st.subheader("What the demo model generates", width="content")
        query = {"run": source.id}
        st.page_link(page_file("generate"), label="Generate with it", query_params=query, width="content")
    sampling = source.settings.sampling
    st.caption(
        f"{escaped(source.title)} comes with the lab: sampler {sampling.sampler}, "
        f"{count(sampling.num_inference_steps)} steps, guidance scale {sampling.guidance_scale:g}."
    )
    figures = []
    for name, images in zip(source.class_names, per_class, strict=True):
        pixels = base64.b64encode(png(mosaic(images[:SHOWN_PER_CLASS], columns=2))).decode()
        name = html.escape(name[:12])
        alt = f"Images generated for class {name}"
        figures.append(
            f'<figure><figcaption>{name}</figcaption><img alt="{alt}" src="data:image/png;base64,{pixels}"></figure>'
        )
    st.html(f'<div class="lab-classes">{"".join(figures)}</div>')


@st.cache_data(show_spinner=False, hash_funcs={FolderSource: lambda source: source.id})
def _grid(source: FolderSource) -> np.ndarray | None:
    """(K, 10, H, W, C) uint8, or None where the picture is not there or has another shape."""
    try:
        with opened_picture(source.folder / GRID_FILE, GRID_FILE, formats=("PNG",)) as picture:
            pixels = np.asarray(picture)
    except (OSError, DataUnavailable):
        return None
    side, classes = source.image_size, len(source.class_names)
    zoom = max(1, 64 // side)
    pixels = pixels[::zoom, ::zoom].reshape(len(pixels[::zoom]), -1, 1 if pixels.ndim == 2 else pixels.shape[2])
    if classes > GRID_ROWS or pixels.shape[:2] != (classes * (side + 1) - 1, GRID_COLUMNS * (side + 1) - 1):
        return None
    padded = np.pad(pixels, ((0, 1), (0, 1), (0, 0)))
    cells = padded.reshape(classes, side + 1, GRID_COLUMNS, side + 1, -1)[:, :side, :, :side]
    return cells.transpose(0, 2, 1, 3, 4)
