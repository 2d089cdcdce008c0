"""The reading of a set that somebody is about to import, with an image of each class: nothing is stored."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from core.data.decoding import decode
from core.data.fit import fit_pictures
from core.data.limits import ReadLimits
from core.data.reader.array_sets import ArrayParts, raw_arrays
from core.data.reader.read import PictureSet
from core.data.reader.reading_of_set import Answers

SIDE, MOST_CLASSES = 48, 40  # pixels per side; classes that are shown with an image


def looked_at(found: PictureSet | ArrayParts, answers: Answers, limits: ReadLimits) -> dict[str, Any]:
    """{"reading": …, "images": [class, PNG in base64]}. Raises as the reader does."""
    if isinstance(found, ArrayParts):
        raw = raw_arrays(found, answers, limits)
        assert raw.reading is not None
        reading = raw.reading
        firsts = [np.flatnonzero(raw.train.labels == label)[:1] for label in range(len(raw.class_names))]
        pictures = [next(iter(raw.train.blocks(first)))[0] for first in firsts[:MOST_CLASSES]]
    else:
        seen = found.looked_at(answers, max_pixels=limits.picture_pixels)
        reading = found.reading(seen)
        most = limits.picture_pixels
        members = [members[0] for members in found.train.values()][:MOST_CLASSES]
        pictures = [
            decode(each.read(), where=each.where, tops=seen.tops, at_least=SIDE, max_pixels=most).pixels
            for each in members
        ]
    small = [fit_pictures(each[None], image_size=SIDE, fit="resize", channels=reading.channels)[0] for each in pictures]
    images = [[name, _png(each)] for name, each in zip(reading.class_names, small, strict=False)]
    return {"reading": reading.written(), "images": images}


def _png(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
