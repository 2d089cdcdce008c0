"""The denoising scrubber: one sprite sheet sent once, drawn on canvases in the browser, one display frame a step."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.evaluation.decision_step import commit_frame
from core.mosaic import mosaic
from lab.widgets.component import FRAMED, component
from lab.widgets.latent_colors import DARK, LIGHT, symmetric_limit
from lab.widgets.pictures import png
from lab.widgets.sprites import MAX_SIDE, MIME, framed, sprite_sheet

MAX_PICTURES = 64
LAYERS = 2
WIDE = 16  # classes side by side; more are wrapped
NEAREST_ACROSS = 8
QUALITY = {False: 80, True: 62}  # of WebP: pictures, signed values
_HTML = """
<div class="scrubber" data-testid="scrubber" data-ready="0" tabindex="0">
  <div class="chips" role="group" aria-label="Layers"></div>
  <div class="panels"></div>
  <div class="detail">
    <aside class="large" aria-label="Selected image" hidden>
      <canvas role="img" aria-label="Selected image"></canvas>
      <h4></h4><button class="close" type="button" aria-label="Close">×</button>
      <p class="commit"></p>
      <div class="odds"></div>
      <div class="nearest" hidden>
        <canvas role="img" aria-label="Nearest training image"></canvas><div><h5></h5><p></p></div>
      </div>
    </aside>
    <div class="steps">
      <div class="bar">
        <button class="play" type="button">Play</button>
        <button class="back turn" type="button" aria-label="Previous step">‹</button>
        <button class="on turn" type="button" aria-label="Next step">›</button>
        <output></output>
        <select aria-label="Speed"><option value="4">slow</option><option value="10" selected>normal</option>
          <option value="25">fast</option></select>
        <button class="branch" type="button" hidden title="Continue from this step with other settings"></button>
      </div>
      <div class="strips" hidden></div>
      <div class="axis"><input type="range" min="0" step="1" value="0" aria-label="Denoising step"></div>
    </div>
  </div>
  <details class="more" open><summary>Curves</summary><div class="curves"></div></details>
</div>
"""
_PARTS = (
    FRAMED,
    "scrubber_sheets",
    "scrubber_layers",
    "scrubber_large",
    "scrubber_strips",
    "scrubber_curves",
    "scrubber",
)  # one module, in order
_component = component(__file__, "lab_scrubber", _HTML, scripts=_PARTS)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Pictures (F, N, h, w, C) uint8. signed: C = 1, 128 is zero, and the browser gives the colours.

    title: on the button that shows and hides it; caption: above it.
    """

    name: str
    title: str
    caption: str
    pictures: np.ndarray
    signed: bool = False
    shown: bool = True


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One number a frame, values (F,), or one a frame and picture, (F, N). how: how to read it, one sentence."""

    title: str
    how: str
    values: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Beside:
    """A picture to stand beside each of the N: pictures (N, H, W, C) of their size, a title and a sentence for each."""

    pictures: np.ndarray
    titles: Sequence[str]
    words: Sequence[str]


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
    words = list(captions) or [
        "Current sample: the noisy image at this step",
        "Predicted x0: the clean image at this step",
    ]
    shown = [
        Layer(name=name, title="", caption=caption, pictures=pictures)
        for name, caption, pictures in zip(("noisy", "clean"), words, layers, strict=False)
    ]
    return pack_layers(shown, labels, columns=columns, zoom=zoom, heads=heads, sides=sides, first=first)


def pack_layers(
    layers: Sequence[Layer],
    labels: Sequence[str],
    *,
    columns: int,
    zoom: float = 4,
    heads: Sequence[str] = (),
    sides: Sequence[str] = (),
    first: int | None = None,
    names: Sequence[str] = (),
    curves: Sequence[Curve] = (),
    odds: np.ndarray | None = None,
    classes: Sequence[str] = (),
    asked: Sequence[int] = (),
    nearest: Beside | None = None,
    branch: bool = False,
    since: int = 0,
) -> bytes:
    """Layers, the first of pictures, each in a sheet of its own; curves; a text a frame → what the browser gets.

    names: one a picture, which can then be clicked. odds (F, N, K): probabilities of `classes`, `asked` being what each
    picture should be. nearest: the training picture shown with each that is clicked. zoom: at most so many screen
    pixels a pixel. since: the film strips begin at this frame, where a branch left its original. Raises ValueError when
    a sheet would be too large.
    """
    sheets = [
        sprite_sheet(
            [mosaic(frame, columns=columns, gap=0 if layer.signed else 1) for frame in layer.pictures],
            quality=QUALITY[layer.signed],
        )
        for layer in layers
    ]
    numbers = [np.atleast_2d(curve.values.T).astype("<f4") for curve in curves]
    near = b"" if nearest is None else png(mosaic(nearest.pictures, columns=NEAREST_ACROSS))
    shares = b"" if odds is None else (odds * 255).round().clip(0, 255).astype(np.uint8).tobytes()
    frames, pictures, height, width = layers[0].pictures.shape[:4]
    rows = math.ceil(pictures / columns)
    header: dict[str, Any] = {
        "frames": frames,
        "pictures": pictures,
        "picture": [width, height],
        "across": columns,
        "rows": rows,
        "width": columns * (width + 1) - 1,
        "height": rows * (height + 1) - 1,
        "zoom": zoom,
        "mime": MIME,
        "labels": list(labels),
        "heads": list(heads),
        "sides": list(sides),
        "names": list(names),
        "first": frames - 1 if first is None else first,
        "layers": [
            {
                "name": layer.name,
                "title": layer.title,
                "caption": layer.caption,
                "signed": layer.signed,
                "shown": layer.shown,
                "bytes": len(sheet.image),
                "columns": sheet.columns,
                "width": sheet.width,
                "height": sheet.height,
                "picture": list(layer.pictures.shape[3:1:-1]),
            }
            for layer, sheet in zip(layers, sheets, strict=True)
        ],
        "curves": [
            {"title": curve.title, "how": curve.how, "lines": len(lines)}
            for curve, lines in zip(curves, numbers, strict=True)
        ],
        "numbers": sum(lines.size for lines in numbers),
        "odds": len(shares),
        "classes": list(classes) if odds is not None else [],
        "asked": list(asked),
        "commits": [] if odds is None else commit_frame(odds).tolist(),
        "nearest": {
            "bytes": len(near),
            "columns": NEAREST_ACROSS,
            "titles": list(nearest.titles) if nearest else [],
            "words": list(nearest.words) if nearest else [],
        },
        "light": LIGHT,
        "dark": DARK,
        "branch": branch,
        "since": since,
    }
    bodies = [*(sheet.image for sheet in sheets), *(lines.tobytes() for lines in numbers), shares, near]
    digest = hashlib.sha256(repr(header).encode() + b"".join(bodies)).hexdigest()[:16]
    same = hashlib.sha256(b"".join(sheet.image for sheet in sheets)).hexdigest()[:16]
    return framed({"id": digest, "same": same, **header}, *bodies)


def signed_levels(values: np.ndarray) -> np.ndarray:
    """Signed values → uint8 grey levels: 128 is zero, the same reach both ways, beyond is clipped."""
    limit = symmetric_limit(values)
    return (np.clip(values / limit, -1, 1) * 127 + 128).round().astype(np.uint8)


def tiled(latents: np.ndarray) -> np.ndarray:
    """(F, N, c, h, w) → (F, N, h', w', 1): the channels of each side by side in a square, what is over is zero."""
    frames, count, channels, height, width = latents.shape
    side = math.ceil(math.sqrt(channels))
    down = math.ceil(channels / side)
    tiles = np.zeros((frames, count, down, side, height, width), dtype=np.float32)
    for channel in range(channels):
        tiles[:, :, channel // side, channel % side] = latents[:, :, channel]
    return tiles.swapaxes(3, 4).reshape(frames, count, down * height, side * width, 1)


def scrubber(payload: bytes, *, key: str) -> Any:
    """Show what was packed. Keys: arrows, Home, End, space, Page Up and Down, B, S, Escape.

    The answer has branch: the frame where a branch was asked for, once, or None.
    """
    return _component(data=payload, key=key, on_branch_change=lambda: None)
