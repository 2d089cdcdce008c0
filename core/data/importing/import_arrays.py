"""The arrays of an imported set while they are written: pixels of any size end to end, and sets of arrays too."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.data.limits import KEPT_SIDE
from core.data.raw import RawSet
from core.data.reader.reading_of_set import MOST_KINDS, Reading
from core.errors import DataUnavailable


class PartWriter:
    """One split: `<part>_pixels.bin` uint8 end to end, and beside it shapes (N, 3), sizes (N, 2) and labels (N,).

    shapes: height, width, channels as kept. sizes: height and width as stored in the source.
    """

    def __init__(self, folder: Path, part: str) -> None:
        self.folder, self.part = folder, part
        self.shapes: list[tuple[int, ...]] = []
        self.sizes: list[tuple[int, int]] = []
        self.labels: list[int] = []
        self.coloured = 0

    def __enter__(self) -> PartWriter:
        self.file = open(self.folder / f"{self.part}_pixels.bin", "wb")
        return self

    def add(self, pixels: np.ndarray, size: np.ndarray, label: int) -> None:
        """pixels uint8 (h, w, 1 or 3): three equal channels are kept as one, what is too large is reduced."""
        if pixels.shape[2] == 3:
            if (pixels != pixels[..., :1]).any():
                self.coloured += 1
            else:
                pixels = pixels[..., :1]
        pixels = _reduced(pixels)
        self.file.write(np.ascontiguousarray(pixels).data)
        self.shapes.append(pixels.shape)
        self.sizes.append((int(size[0]), int(size[1])))
        self.labels.append(int(label))

    def __exit__(self, kind: object, *_: object) -> None:
        with self.file:
            if kind is None:
                self.file.flush()
                os.fsync(self.file.fileno())
        if kind is None:
            for name, values, dtype in (
                ("shapes", self.shapes, np.int32),
                ("sizes", self.sizes, np.int32),
                ("labels", self.labels, np.int64),
            ):
                with open(self.folder / f"{self.part}_{name}.npy", "wb") as file:
                    np.lib.format.write_array(file, np.array(values, dtype=dtype), allow_pickle=False)
                    file.flush()
                    os.fsync(file.fileno())

    def facts(self) -> dict[str, int]:
        """How many pictures, and how many bytes of pixels."""
        return {"count": len(self.labels), "pixel_bytes": sum(math.prod(shape) for shape in self.shapes)}


def channels_of(writers: Iterable[PartWriter], stored_grey: int, color: str) -> int:
    """1 or 3. Raises DataUnavailable for a mixture of grey and coloured files when nobody said what it shall become."""
    coloured = sum(writer.coloured for writer in writers)
    if color != "native":
        return 1 if color == "gray" else 3
    if coloured and stored_grey:
        raise DataUnavailable(
            f"{stored_grey:,} images are gray and {coloured:,} in color",
            "choose one for all: gray or rgb",
        )
    return 3 if coloured else 1


def store_arrays(raw: RawSet, folder: Path, color: str, tell: Callable[[float], None]) -> dict[str, Any]:
    """Write a set of arrays into the folder, part after part; what there is now, as set.json says it."""
    assert raw.reading is not None
    parts = {"train": raw.train, **({"heldout": raw.heldout} if raw.heldout else {})}
    total = sum(len(split.labels) for split in parts.values())
    done, writers = 0, {}
    for part, split in parts.items():
        with PartWriter(folder, part) as writer:
            for block in split.blocks(np.arange(len(split.labels))):
                for pixels in block:
                    writer.add(pixels, np.array(pixels.shape[:2]), split.labels[len(writer.labels)])
                done += len(block)
                tell(done / total)
        writers[part] = writer
    return {
        "channels": channels_of(writers.values(), 0, color),
        "class_names": list(raw.class_names),
        "parts": {part: writer.facts() for part, writer in writers.items()},
        **left_out_facts(raw.reading),
    }


def left_out_facts(reading: Reading) -> dict[str, Any]:
    """What set.json says of the reading: itself, and what was left out as earlier versions wrote it."""
    kinds = dict(list(reading.left_out.items())[:MOST_KINDS])
    return {"left_out": sum(reading.left_out.values()), "left_out_kinds": kinds, "reading": reading.written()}


def _reduced(pixels: np.ndarray) -> np.ndarray:
    height, width, channels = pixels.shape
    if min(height, width) <= KEPT_SIDE:
        return pixels
    scale = KEPT_SIDE / min(height, width)
    size = (max(KEPT_SIDE, round(width * scale)), max(KEPT_SIDE, round(height * scale)))
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)).reshape(
        size[1], size[0], channels
    )
