"""The denoising scrubber: one sprite sheet sent once, drawn on canvases in the browser, one display frame a step."""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from lab.components.pictures import mosaic

MAX_SIDE = 8192  # what every browser decodes
MAX_PICTURES = 64
LAYERS = 2
WIDE = 16  # classes side by side; more are wrapped
_HTML = """
<div class="scrubber" data-testid="scrubber" data-ready="0" tabindex="0">
  <div class="layers">
    <figure><figcaption>What the sampler holds at this step</figcaption>
      <div class="sheet"><div class="heads"></div><div class="sides"></div>
        <canvas class="noisy" role="img" aria-label="Noisy latents, decoded"></canvas></div></figure>
    <figure><figcaption>The clean picture it predicts from that</figcaption>
      <div class="sheet"><div class="heads"></div><div class="sides"></div>
        <canvas class="clean" role="img" aria-label="Predicted clean pictures"></canvas></div></figure>
  </div>
  <div class="bar">
    <button class="play" type="button">Play</button>
    <input type="range" min="0" step="1" value="0" aria-label="Denoising step">
    <output></output>
    <select aria-label="Speed"><option value="4">slow</option><option value="10" selected>normal</option>
      <option value="25">fast</option></select>
  </div>
</div>
"""
_HERE = Path(__file__)
_component = st.components.v2.component(
    "lab_scrubber",
    html=_HTML,
    css=_HERE.with_name("scrubber.css").read_text(),
    js=_HERE.with_name("scrubber.js").read_text(),
)


def side_by_side(labels: tuple[int, ...]) -> tuple[list[int], int, list[int], list[int]]:
    """(order of the pictures, columns, class of each column, class of each row) that show classes side by side.

    Few classes with several pictures get a row each, up to 16 a column each, more are wrapped without names.
    """
    classes = sorted(set(labels))
    each = len(labels) // len(classes)
    if len(classes) < 5 and each > 1:
        order = sorted(range(each * len(classes)), key=lambda place: (labels[place], place))
        return order, each, [], classes
    whole = len(classes) <= WIDE
    return list(range(len(labels))), min(len(classes), WIDE), classes if whole else [], []


def frames_that_fit(frames: int, pictures: int, columns: int, size: int) -> int:
    """How many of `frames` a sheet can hold in each of its two layers of `pictures`, each `size` pixels wide."""
    width, height = columns * (size + 1) - 1, math.ceil(pictures / columns) * (size + 1) - 1
    return min(frames, (MAX_SIDE // width) * (MAX_SIDE // height) // LAYERS)


def pack(
    layers: list[np.ndarray],
    labels: list[str],
    *,
    columns: int,
    zoom: int = 2,
    heads: Sequence[str] = (),
    sides: Sequence[str] = (),
    captions: Sequence[str] = (),
    first: int | None = None,
) -> bytes:
    """Layers (F, N, H, W, C) uint8 of equal shape, one text a frame → header and WebP sprite sheet.

    heads: one text a column, above the pictures. sides: one text a row, on their left. captions: one a layer instead of
    those of denoising; with one caption the second layer is hidden. first: the frame shown at first, else the last.
    Raises ValueError when the sheet would be larger than browsers decode.
    """
    frames = [mosaic(frame, columns=columns) for layer in layers for frame in layer]
    height, width, channels = frames[0].shape
    across = max(1, min(math.ceil(math.sqrt(len(frames) * height / width)), MAX_SIDE // width))
    if math.ceil(len(frames) / across) * height > MAX_SIDE:
        across = MAX_SIDE // width
    down = math.ceil(len(frames) / max(1, across))
    if across < 1 or down * height > MAX_SIDE:
        raise ValueError(f"{len(frames)} frames of {width} x {height} pixels are too many for one sheet")
    sheet = np.zeros((down * height, across * width, channels), dtype=np.uint8)
    for index, frame in enumerate(frames):
        top, left = (index // across) * height, (index % across) * width
        sheet[top : top + height, left : left + width] = frame
    buffer = io.BytesIO()
    Image.fromarray(sheet.squeeze(-1) if channels == 1 else sheet).save(buffer, "WEBP", quality=88, method=2)
    header = {
        "id": hashlib.sha256(buffer.getvalue() + repr((labels, heads, sides, captions, first)).encode()).hexdigest()[
            :16
        ],
        "frames": len(layers[0]),
        "columns": across,
        "width": width,
        "height": height,
        "zoom": zoom,
        "mime": "image/webp",
        "labels": labels,
        "heads": list(heads),
        "sides": list(sides),
        "captions": list(captions),
        "first": len(layers[0]) - 1 if first is None else first,
    }
    text = json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + buffer.getvalue()


def scrubber(payload: bytes, *, key: str) -> None:
    """Show what `pack` made. Keys: arrows, Home, End, space."""
    _component(data=payload, key=key)
