"""What `sample` leaves in its folder: samples.npz, grid.png, request.json and recipe.json."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from core import atomic
from core.errors import UsageError, quoted

GRID_COLUMNS = 20
GRID_TILE = 64


def write_samples(out: Path, images: np.ndarray, labels: np.ndarray, facts: dict[str, Any], recipe: str = "") -> None:
    """samples.npz, grid.png, request.json and recipe.json. images: (N, H, W, C) uint8, labels: (N,) int64."""
    from PIL import Image

    arrays, picture = io.BytesIO(), io.BytesIO()
    np.savez_compressed(arrays, images=images, labels=labels)
    grid = label_grid(images, labels)
    Image.fromarray(grid[:, :, 0] if grid.shape[2] == 1 else grid).save(picture, format="PNG")
    out.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(out / "samples.npz", arrays.getvalue())
    atomic.write_bytes(out / "grid.png", picture.getvalue())
    atomic.write_json(out / "request.json", facts)
    if recipe:
        atomic.write_text(out / "recipe.json", recipe + "\n")


def label_grid(
    images: np.ndarray, labels: np.ndarray, *, columns: int = GRID_COLUMNS, tile: int = GRID_TILE
) -> np.ndarray:
    """One row per label, up to `columns` pictures, enlarged to about `tile` pixels by repetition, 1-pixel gaps.

    images: (N, H, W, C) uint8. Returns (rows, width, C) uint8; gaps and missing pictures are mid-grey.
    """
    _, height, width, channels = images.shape
    zoom = max(1, tile // max(height, width))
    height, width = height * zoom, width * zoom
    rows = list(dict.fromkeys(labels.tolist()))
    across = min(columns, max(int((labels == label).sum()) for label in rows))
    grid = np.full((len(rows) * (height + 1) - 1, across * (width + 1) - 1, channels), 128, np.uint8)
    for row, label in enumerate(rows):
        for column, image in enumerate(images[labels == label][:across]):
            top, left = row * (height + 1), column * (width + 1)
            grid[top : top + height, left : left + width] = image.repeat(zoom, axis=0).repeat(zoom, axis=1)
    return grid


FILES = ("samples.npz", "grid.png", "request.json", "recipe.json")


def check_free(path: Path, option: str, *, overwrite: bool) -> None:
    """Refuse to replace a file that is there. Raises UsageError."""
    if not overwrite and os.path.lexists(path):
        raise UsageError(f"{option} {quoted(path)}: exists already", "give another name, or add --overwrite")


def check_folder(out: Path, *, overwrite: bool = False) -> None:
    """Refuse before the work what could not be written after it: the folder is made and removed again.

    Raises UsageError, also for files of an earlier sample unless `overwrite`.
    """
    for name in FILES:
        check_free(out / name, "--out", overwrite=overwrite)
    made: list[Path] = []
    try:
        for folder in (*reversed(out.absolute().parents), out.absolute()):
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        with tempfile.TemporaryFile(dir=out):
            pass
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise UsageError(f"--out {quoted(out)}: cannot be written to: {reason}", "give another folder") from None
    finally:
        for folder in reversed(made):
            folder.rmdir()
