"""The arrays of an imported set while they are written: pixels of any size end to end, and how .npz files get there."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from core.data.importing.archive import open_archive
from core.data.importing.limits import KEPT_SIDE, ImportLimits
from core.data.npz_rules import NPZ_ARRAYS, npz_class_names, npz_problem
from core.errors import DataUnavailable, quoted

CHUNK_BYTES = 16_000_000
MAX_HEADER = 4096
TEXT_BYTES = 4_000_000


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
        return 1 if color == "grey" else 3
    if coloured and stored_grey:
        raise DataUnavailable(
            f"{stored_grey:,} pictures are grey and {coloured:,} in colour",
            "say which it shall be: grey or rgb",
        )
    return 3 if coloured else 1


def read_npz(
    path: Path, folder: Path, limits: ImportLimits, color: str, tell: Callable[[float], None]
) -> dict[str, Any]:
    """The arrays of an .npz, read row by row after their headers were checked. Raises DataUnavailable."""
    with open(path, "rb") as file:
        if file.read(6) == b"\x93NUMPY":
            raise DataUnavailable("it is a single array", "save it with numpy.savez(images=, labels=)")
    with open_archive(path, limits) as archive:
        entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        known = {name: entries[name] for name in NPZ_ARRAYS if name in entries}
        headers = {name: _header(archive, entry, name) for name, entry in known.items()}
        arrays = {}
        for name, (shape, dtype, _) in headers.items():
            # pictures are judged by their shape alone, without a byte of them
            is_small = not name.endswith("images")
            arrays[name] = _whole(archive, known[name]) if is_small else np.broadcast_to(np.zeros((), dtype), shape)
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
            shape, _, start = headers[f"{prefix}images"]
            with PartWriter(folder, part) as writer, archive.open(known[f"{prefix}images"]) as file:
                file.read(start)
                for rows in _rows(file, shape):
                    for pixels in rows:
                        writer.add(pixels, np.array(pixels.shape[:2]), labels[len(writer.labels)])
                    done += len(rows)
                    tell(done / total)
            written[part] = writer.facts()
            writers.append(writer)
        return {
            "channels": channels_of(writers, 0, color),
            "class_names": list(names),
            "left_out": len(entries) - len(known),
            "parts": written,
        }


def _header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """(shape, type, bytes before the data) of an array, after its claim was compared with what is there."""
    try:
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)  # type: ignore[arg-type]
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, is_fortran, dtype = read(file, max_header_size=MAX_HEADER)  # type: ignore[arg-type]
            start = file.tell()
    except (MemoryError, OSError):
        raise
    except Exception as error:  # a damaged header raises whatever the parser meets
        first = (str(error).splitlines() or [""])[0]
        raise DataUnavailable(f"'{name}' is no array that can be read ({quoted(first)})") from None
    if dtype.hasobject:
        raise DataUnavailable(f"'{name}' holds Python objects, which are never read", "save it as numbers")
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != entry.file_size - start:
        claimed = math.prod(shape) * dtype.itemsize
        raise DataUnavailable(
            f"'{name}' claims {claimed:,} bytes {tuple(shape)} but holds {entry.file_size - start:,}", "save it again"
        )
    if is_fortran and len(shape) > 1:
        raise DataUnavailable(f"'{name}' is saved column by column", "save numpy.ascontiguousarray of it")
    if not name.endswith("images") and entry.file_size > TEXT_BYTES + 8 * 1_000_000:
        raise DataUnavailable(f"'{name}' has {entry.file_size / 1e6:,.0f} MB, which is too much for it")
    return tuple(shape), dtype, start


def _whole(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False, max_header_size=MAX_HEADER)


def _too_much(arrays: dict[str, np.ndarray], limits: ImportLimits) -> str:
    for name in ("images", "test_images"):
        if name not in arrays:
            continue
        count, height, width = arrays[name].shape[:3]
        if count > limits.pictures:
            return f"{count:,} pictures are more than {limits.pictures:,}"
        if height * width > limits.picture_pixels:
            return f"'{name}': {height} × {width} pixels are more than {limits.picture_pixels:,}"
    return ""


def _check_classes(arrays: dict[str, np.ndarray], names: tuple[str, ...], limits: ImportLimits) -> None:
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
            f"class {empty} ('{quoted(names[empty])}') has no pictures", "labels must use every number from 0 on"
        )


def _rows(file: IO[bytes], shape: tuple[int, ...]) -> Iterable[np.ndarray]:
    """uint8 (n, h, w, C) blocks of bounded size."""
    row_bytes = math.prod(shape[1:])
    step = max(1, CHUNK_BYTES // row_bytes)
    for first in range(0, shape[0], step):
        count = min(step, shape[0] - first)
        data = file.read(count * row_bytes)
        if len(data) != count * row_bytes:
            raise DataUnavailable("its pictures end too early", "save it again")
        yield np.frombuffer(data, np.uint8).reshape(count, *shape[1:3], shape[3] if len(shape) == 4 else 1)


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
