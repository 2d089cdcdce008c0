"""The film of learning: a run's previews, training time by denoising step, as one stack of pictures.

Previews (previews/step-*.npz) show the same seeds at log-spaced steps of the training. They are read a frame at a time,
and only what the film shows is kept: memory is bounded by the film, not by the files. Damaged ones are left out.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from core import reading
from core.errors import LabError
from core.runs.facts import data_facts
from core.runs.run import Run

MAX_TIMES = 24
MAX_FRAMES = 25
MAX_PICTURES = 20
MAX_FILE_BYTES = 2**30  # of one array of a preview, unpacked
MAX_LAYER_PIXELS = 12_000_000  # one sheet that every browser decodes at once
ENOUGH_TIMES = 8
HELD, PREDICTED, INPUTS, RECONSTRUCTIONS = "noisy_images", "predicted_images", "inputs", "reconstructions"
PREVIEW_NAME = re.compile(r"^step-(\d{8,12})\.npz$")


@dataclass(frozen=True, kw_only=True)
class Film:
    """S training times, F denoising steps (1 for a VAE), N pictures; layers: name → (S, F, N, H, W, C) uint8.

    steps (S,) rising, out of steps_total; timesteps (F,) falling to 0; labels (N,) and class_names (K,), none
    where the previews do not say what they show. every: of
    large pictures only each so many-th pixel is kept. left_out: previews that are damaged, too large, or of another
    shape than the newest one.
    """

    run_id: str
    steps: tuple[int, ...]
    steps_total: int
    timesteps: tuple[float, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    layers: dict[str, np.ndarray]
    every: int
    left_out: int

    @property
    def denoises(self) -> bool:
        """True where time also runs along the denoising."""
        return HELD in self.layers


def preview_paths(run: Run) -> list[tuple[int, Path]]:
    """(step, file) of every preview, oldest first; none is opened."""
    found = ((PREVIEW_NAME.match(path.name), path) for path in run.previews_dir.glob("step-*"))
    return sorted((int(match[1]), path) for match, path in found if match)


def read_film(run: Run, *, per_class: int = 1, max_times: int = MAX_TIMES) -> Film:
    """The film so far of a VAE or U-Net run: `per_class` pictures of each class, at most MAX_PICTURES in all.

    More than `max_times` previews are thinned out evenly, the first and the last stay. Raises LabError when the run has
    no preview that can be read, or is no training.
    """
    names = run.kind.layers
    if not names:
        raise LabError(f"{run.id}: has no previews", "choose a VAE or a U-Net run")
    paths = preview_paths(run)
    newest, left_out = None, 0
    while paths and newest is None:
        newest = _opened(paths[-1][1], names)
        if newest is None:
            paths, left_out = paths[:-1], left_out + 1
    if newest is None:
        why = f"its {left_out} previews cannot be read" if left_out else "it has no preview yet"
        raise LabError(f"{run.id}: {why}", "let it train to its first preview, with logging.num_previews above 0")
    places = _chosen(newest.labels, per_class)
    every, max_times = _budget(newest, len(places), min(max_times, len(paths)))
    steps: list[int] = []
    stacks: list[dict[str, np.ndarray]] = []
    for step, path in (paths[place] for place in thinned(len(paths), max_times)):
        opened = _opened(path, names)
        layers = _read(opened, names, places, every) if opened is not None and opened.shapes == newest.shapes else None
        if layers is None:
            left_out += 1
            continue
        steps.append(step)
        stacks.append(layers)
    if not stacks:
        raise LabError(f"{run.id}: its previews cannot be read")
    return Film(
        run_id=run.id,
        steps=tuple(steps),
        steps_total=max(run.status().steps_total, steps[-1]),
        timesteps=newest.timesteps,
        labels=tuple(int(newest.labels[place]) for place in places),
        class_names=_class_names(run) if newest.is_named else (),
        layers={name: np.stack([layers[name] for layers in stacks]) for name in names},
        every=every,
        left_out=left_out,
    )


def thinned(count: int, most: int) -> list[int]:
    """At most `most` of range(count), evenly spaced, the first and the last among them."""
    return [int(place) for place in np.unique(np.linspace(0, count - 1, min(count, most)).round())]


def _budget(preview: _Preview, pictures: int, times: int) -> tuple[int, int]:
    """(keep each so many-th pixel, training times): at least ENOUGH_TIMES, if there are, within MAX_LAYER_PIXELS."""
    height, width = preview.shapes[0][-3:-1]
    every = 1
    while True:
        pixels = len(preview.timesteps) * pictures * -(-height // every) * -(-width // every)
        most = MAX_LAYER_PIXELS // pixels
        if most >= min(ENOUGH_TIMES, times) or every >= min(height, width):
            return every, max(1, min(times, most))
        every *= 2


@dataclass(frozen=True, kw_only=True)
class _Preview:
    """What is known of a preview before its pictures are read."""

    path: Path
    labels: np.ndarray
    is_named: bool
    timesteps: tuple[float, ...]
    shapes: tuple[tuple[int, ...], ...]


def _opened(path: Path, names: Sequence[str]) -> _Preview | None:
    """Labels, timesteps and shapes; None when the file is damaged or does not hold together."""
    try:
        with reading.open_regular(path) as file, zipfile.ZipFile(file) as archive:
            shapes = tuple(_picture_shape(archive, name) for name in names)
            is_named = "labels.npy" in archive.namelist()
            labels = _small(archive, "labels") if is_named else np.arange(shapes[0][-4])
            timesteps = _small(archive, "timesteps") if len(shapes[0]) == 5 else np.zeros(1)
    except _DAMAGE:
        return None
    first = shapes[0]
    fits = (
        first == shapes[1] and labels.shape == first[-4:-3] and len(timesteps) == (first[0] if len(first) == 5 else 1)
    )
    if not fits or not np.isfinite(timesteps).all() or (labels < 0).any():
        return None
    kept = thinned(len(timesteps), MAX_FRAMES)
    return _Preview(
        path=path, labels=labels, is_named=is_named, timesteps=tuple(float(timesteps[at]) for at in kept), shapes=shapes
    )


def _read(preview: _Preview, names: Sequence[str], places: Sequence[int], every: int) -> dict[str, np.ndarray] | None:
    """name → (F, N', H, W, C): the kept frames and the chosen pictures; None when the file is damaged."""
    try:
        with reading.open_regular(preview.path) as file, zipfile.ZipFile(file) as archive:
            return {
                name: _frames(archive, name, shape, places)[..., ::every, ::every, :]
                for name, shape in zip(names, preview.shapes, strict=True)
            }
    except _DAMAGE:
        return None


_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


def _frames(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], places: Sequence[int]) -> np.ndarray:
    frame_shape, count = shape[-4:], shape[0] if len(shape) == 5 else 1
    size = int(np.prod(frame_shape))
    kept = set(thinned(count, MAX_FRAMES))
    found = []
    with archive.open(f"{name}.npy") as file:
        _header(file)
        for index in range(count):
            data = file.read(size)
            if len(data) != size:
                raise ValueError("the array ends too early")
            if index in kept:
                found.append(np.frombuffer(data, dtype=np.uint8).reshape(frame_shape)[list(places)])
    return np.stack(found)


def _picture_shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    """(F, N, H, W, C) or (N, H, W, C) of an array of pictures. Raises ValueError for anything else."""
    with archive.open(f"{name}.npy") as file:
        shape, is_fortran, dtype = _header(file)
    good = len(shape) in (4, 5) and min(shape) > 0 and shape[-1] in (1, 3) and dtype == np.uint8 and not is_fortran
    if not good or int(np.prod(shape, dtype=np.float64)) > MAX_FILE_BYTES:
        raise ValueError("no images, or too many")
    return shape


def _small(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """A list of at most 10,000 numbers."""
    with archive.open(f"{name}.npy") as file:
        shape, _, dtype = _header(file)
        if len(shape) != 1 or shape[0] > 10_000 or dtype.kind not in "iuf":
            raise ValueError("no list of numbers")
        data = file.read(shape[0] * dtype.itemsize)
    return np.frombuffer(data, dtype=dtype, count=shape[0])


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of a .npy stream, which then stands at its data."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError("an unknown version")
    shape, is_fortran, dtype = read(file)
    return shape, is_fortran, dtype


def _chosen(labels: np.ndarray, per_class: int) -> list[int]:
    """Places of the pictures to show, a row of all classes after the other."""
    seen: Counter[int] = Counter()
    ranked = []
    for place, label in enumerate(labels.tolist()):
        ranked.append((seen[label], label, place))
        seen[label] += 1
    return [place for turn, _, place in sorted(ranked) if turn < per_class][:MAX_PICTURES]


def _class_names(run: Run) -> tuple[str, ...]:
    """Names of the classes, or none when data.json cannot be read."""
    try:
        return data_facts(run).class_names
    except (OSError, ValueError):
        return ()
