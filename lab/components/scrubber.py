"""The denoising scrubber: one sprite sheet sent once, drawn on canvases in the browser, one display frame a step."""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from lab.components.pictures import mosaic

MAX_SIDE = 8192  # what every browser decodes
MAX_PICTURES = 64
_HTML = """
<div class="scrubber" data-testid="scrubber" data-ready="0" tabindex="0">
  <div class="layers">
    <figure><figcaption>What the sampler holds at this step</figcaption>
      <canvas class="noisy" role="img" aria-label="Noisy latents, decoded"></canvas></figure>
    <figure><figcaption>The clean picture it predicts from that</figcaption>
      <canvas class="clean" role="img" aria-label="Predicted clean pictures"></canvas></figure>
  </div>
  <div class="names"></div>
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


def pack(layers: list[np.ndarray], labels: list[str], *, names: str, columns: int, zoom: int = 2) -> bytes:
    """Layers (F, N, H, W, C) uint8 of equal shape, one text a frame → header and WebP sprite sheet.

    Raises ValueError when the sheet would be larger than browsers decode.
    """
    frames = [mosaic(frame, columns=columns) for layer in layers for frame in layer]
    height, width, channels = frames[0].shape
    across = max(1, min(math.ceil(math.sqrt(len(frames) * height / width)), MAX_SIDE // width))
    down = math.ceil(len(frames) / across)
    if across * width > MAX_SIDE or down * height > MAX_SIDE:
        raise ValueError(f"{len(frames)} frames of {width} x {height} pixels are too many for one sheet")
    sheet = np.zeros((down * height, across * width, channels), dtype=np.uint8)
    for index, frame in enumerate(frames):
        top, left = (index // across) * height, (index % across) * width
        sheet[top : top + height, left : left + width] = frame
    buffer = io.BytesIO()
    Image.fromarray(sheet.squeeze(-1) if channels == 1 else sheet).save(buffer, "WEBP", quality=88, method=2)
    header = {
        "id": hashlib.sha256(buffer.getvalue()).hexdigest()[:16],
        "frames": len(layers[0]),
        "columns": across,
        "width": width,
        "height": height,
        "zoom": zoom,
        "mime": "image/webp",
        "labels": labels,
        "names": names,
    }
    text = json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + buffer.getvalue()


def scrubber(payload: bytes, *, key: str) -> None:
    """Show what `pack` made. Keys: arrows, Home, End, space."""
    _component(data=payload, key=key)
