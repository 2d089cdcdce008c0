"""A grid of settings as one labeled picture: rows Y, columns X, a block per Z. Never imports torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core.comparison.grid import Value, value_in_words
from core.mosaic import mosaic
from core.sampling.recipe import Recipe

TEXT, GAP = 14, 8  # pixels
WIDTH, MOST_ZOOM = 1600, 4  # of all columns together, about; screen pixels per pixel


def in_words(setting: str, value: Value, class_names: Sequence[str]) -> str:
    """'10 steps', 'guidance 1.5', 'class 7': the label of a row, a column or a block."""
    return f"class {class_names[int(value)]}" if setting == "label" else value_in_words(setting, value)


def axis_words(recipe: Recipe, class_names: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """The labels of X, Y and Z; one empty label for each axis that the grid does not have."""
    words = [[in_words(axis.setting, value, class_names) for value in axis.values] for axis in recipe.axes]
    x, y, z = [*words, *[[""]] * (3 - len(words))]
    return x, y, z


def cell_picture(images: np.ndarray) -> np.ndarray:
    """The images of a cell (N, H, W, C) side by side in nearly a square."""
    count = len(images)
    side = math.ceil(math.sqrt(count))
    even = next((columns for columns in range(side, 2 * side) if count % columns == 0), side)
    return mosaic(images, columns=even)


def grid_picture(pictures: Sequence[np.ndarray | None], words: tuple[list[str], list[str], list[str]]) -> np.ndarray:
    """Cells in their order (H, W, C) uint8, None where one is missing, and the labels → one picture (H', W', 3).

    At least one cell must be there.
    """
    x, y, z = words
    height, width = next(each for each in pictures if each is not None).shape[:2]
    zoom = max(1, min(MOST_ZOOM, WIDTH // (len(x) * (width + GAP))))
    height, width = height * zoom, width * zoom
    font, line = ImageFont.load_default(TEXT), TEXT + 8
    ruler = ImageDraw.Draw(Image.new("L", (1, 1)))
    left = max(round(ruler.textlength(text, font=font)) for text in y) + (GAP if any(y) else 0)
    columns = max(width, *(round(ruler.textlength(text, font=font)) for text in x))
    head = line if any(z) else 0
    block = head + line + len(y) * (height + GAP)
    canvas = Image.new("RGB", (left + len(x) * (columns + GAP), len(z) * block), "white")
    draw = ImageDraw.Draw(canvas)
    for depth, block_words in enumerate(z):
        top = depth * block
        draw.text((0, top + 2), block_words, font=font, fill="black")
        for column, text in enumerate(x):
            draw.text((left + column * (columns + GAP), top + head + 2), text, font=font, fill="black")
        for row, text in enumerate(y):
            upper = top + head + line + row * (height + GAP)
            draw.text((0, upper + (height - TEXT) // 2), text, font=font, fill="black")
            for column in range(len(x)):
                picture = pictures[(depth * len(y) + row) * len(x) + column]
                if picture is not None:
                    large = picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
                    pixels = np.ascontiguousarray(large[..., 0] if large.shape[-1] == 1 else large)
                    canvas.paste(Image.fromarray(pixels), (left + column * (columns + GAP), upper))
    return np.asarray(canvas)
