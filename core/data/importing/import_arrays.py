"""The arrays of an imported set while they are written: pixels of any size end to end, and how .npz files get there."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core.data.limits import KEPT_SIDE, ReadLimits
from core.data.npz_file import npz_class_names, npz_problem, opened_npz
from core.errors import DataUnavailable, quoted


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


def read_npz(path: Path, folder: Path, limits: ReadLimits, color: str, tell: Callable[[float], None]) -> dict[str, Any]:
    """The arrays of an .npz, read row by row after their headers were checked. Raises DataUnavailable."""
    with opened_npz(path, limits) as npz:
        arrays = npz.arrays
        problem = npz_problem(arrays) or _too_much(arrays, limits)
        if problem:
            raise DataUnavailable(problem)
        names = npz_class_names(arrays)
        _check_classes(arrays, names, limits)
        parts = {"train": "", **({"heldout": "test_"} if "test_images" in arrays else {})}
        total = sum(len(arrays[f"{prefix}labels"]) for prefix in parts.values())
        done, written, writers = 0, {}, []
        for part, prefix in parts.items():
            labels = arrays[f"{prefix}labels"]
            with PartWriter(folder, part) as writer:
                for rows in npz.rows(f"{prefix}images"):
                    for pixels in rows:
                        writer.add(pixels, np.array(pixels.shape[:2]), labels[len(writer.labels)])
                    done += len(rows)
                    tell(done / total)
            written[part] = writer.facts()
            writers.append(writer)
        return {
            "channels": channels_of(writers, 0, color),
            "class_names": list(names),
            "left_out": npz.left_out,
            "left_out_kinds": {"arrays of other names": npz.left_out} if npz.left_out else {},
            "parts": written,
        }


def _too_much(arrays: dict[str, np.ndarray], limits: ReadLimits) -> str:
    for name in ("images", "test_images"):
        if name not in arrays:
            continue
        count, height, width = arrays[name].shape[:3]
        if count > limits.pictures:
            return f"{count:,} images are more than {limits.pictures:,}"
        if height * width > limits.picture_pixels:
            return f"'{name}': {height} × {width} pixels are more than {limits.picture_pixels:,}"
    return ""


def _check_classes(arrays: dict[str, np.ndarray], names: tuple[str, ...], limits: ReadLimits) -> None:
    if len(names) > limits.classes:
        raise DataUnavailable(f"{len(names):,} classes are more than {limits.classes:,}")
    strange = [name for name in names if not name.isprintable() or not name.strip()]
    if strange:
        raise DataUnavailable(f"the class name '{quoted(strange[0])}' has characters that cannot be shown", "rename it")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataUnavailable(f"the class name '{quoted(twice)}' is there twice", "rename one")
    counts = np.bincount(arrays["labels"].astype(np.int64), minlength=len(names))
    if not counts.all():
        empty = int(np.argmin(counts))
        raise DataUnavailable(
            f"class {empty} ('{quoted(names[empty])}') has no images", "labels must use every number from 0 on"
        )


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
