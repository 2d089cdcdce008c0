"""The film of learning on the screen: a sprite sheet a layer sent once, and two sliders that Python never hears of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from core.mosaic import mosaic
from core.runs.film import INPUTS, Film
from core.runs.film_export import CAPTIONS
from lab.widgets.component import FRAMED, component
from lab.widgets.sprites import MIME, Sheet, framed, sprite_sheet
from lab.words import plain

ALONE, TOGETHER = (10, 1000), (5, 480)  # pictures side by side, and pixels for them
QUALITY = 82
LARGEST = 200  # pixels of the screen that an image may take: two layers and their sliders are seen at once
_HTML = """
<div class="film" data-testid="film" data-ready="0" tabindex="0">
  <div class="films"></div>
  <div class="bars">
    <div class="bar time"><label>Training</label><button type="button" aria-label="Play the training">Play</button>
      <input type="range" min="0" step="1" value="0" aria-label="Training step"><output></output></div>
    <div class="bar frame"><label>Denoising</label><button type="button" aria-label="Play the denoising">Play</button>
      <input type="range" min="0" step="1" value="0" aria-label="Denoising step"><output></output></div>
    <div class="speed"><select aria-label="Speed"><option value="3">slow</option>
      <option value="8" selected>normal</option><option value="20">fast</option></select></div>
  </div>
</div>
"""
_component = component(__file__, "lab_film", _HTML, scripts=(FRAMED, "film"))


def pack_films(films: Sequence[Film], titles: Sequence[str]) -> bytes:
    """One film, or two side by side → header and a sheet for each layer.

    The training slider visits every step that one of them has; a film stands at its last preview up to there.
    """
    columns, wide = ALONE if len(films) == 1 else TOGETHER
    panels: list[dict[str, Any]] = []
    sheets: list[Sheet] = []
    for index, film in enumerate(films):
        for layer in film.layers:
            sheet, panel = _panel(film, layer, columns, wide)
            first = layer == next(iter(film.layers))
            panels.append({"film": index, **panel, "heads": panel["heads"] if first else []})
            sheets.append(sheet)
    header = {
        "mime": MIME,
        "times": training_times(films),
        "frames": max(len(film.timesteps) for film in films),
        "films": [
            {
                "title": plain(title, 80),
                "times": [f"step {step:,} of {film.steps_total:,}" for step in film.steps],
                "frames": [f"t = {t:.0f}" for t in film.timesteps] if film.denoises else [""],
            }
            for film, title in zip(films, titles, strict=True)
        ],
        "panels": panels,
    }
    images = [sheet.image for sheet in sheets]
    digest = hashlib.sha256(repr(header).encode() + b"".join(images)).hexdigest()[:16]
    return framed({"id": digest, **header}, *images)


def training_times(films: Sequence[Film]) -> list[dict[str, Any]]:
    """The stops of the training slider: label, and for each film the place of its last preview up to there."""
    stops = sorted({step for film in films for step in film.steps})
    total = max(film.steps_total for film in films)
    return [
        {
            "label": f"step {stop:,} of {total:,}",
            "at": [max(0, sum(step <= stop for step in film.steps) - 1) for film in films],
        }
        for stop in stops
    ]


def _panel(film: Film, layer: str, columns: int, wide: int) -> tuple[Sheet, dict[str, Any]]:
    """A layer as a sheet, training time by denoising step, and what the browser must know of it."""
    pictures = film.layers[layer]
    if layer == INPUTS:  # the same at every step: one cell is enough
        pictures = pictures[:1]
    times, frames, count, _, width, _ = pictures.shape
    columns = min(columns, count)
    cells = [mosaic(pictures[time, frame], columns=columns) for time in range(times) for frame in range(frames)]
    sheet = sprite_sheet(cells, quality=QUALITY)
    in_columns = [film.labels[at::columns] for at in range(columns)]
    named = film.class_names and all(len(set(labels)) == 1 for labels in in_columns)
    return sheet, {
        "caption": CAPTIONS[layer],
        "columns": sheet.columns,
        "width": sheet.width,
        "height": sheet.height,
        "times": times,
        "frames": frames,
        "zoom": max(1, round(min(wide / columns, LARGEST) / (width + 1))),
        "bytes": len(sheet.image),
        "heads": [_name(film, labels[0]) for labels in in_columns] if named else [],
    }


def _name(film: Film, label: int) -> str:
    return plain(film.class_names[label], 40) if label < len(film.class_names) else str(label)


def film_player(payload: bytes, *, key: str) -> None:
    """Show what `pack_films` made. Keys: left and right, up and down for the training, Home, End, space."""
    _component(data=payload, key=key)
