"""What an evaluation generated and what the judge saw in it, kept in the cache batch by batch.

A stopped evaluation goes on from there, the same one is not generated twice, and the Evaluate page shows the images
behind a figure. The key names everything that decides an image and its features. Never imports PyTorch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from core import atomic
from core.data.npz_file import npz_bytes, read_npz
from core.sampling.request import SampleRequest

FOLDER = "evaluations"  # in the cache
FORMAT = 1
_KEY = re.compile(r"[0-9a-f]{32}")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """N images in their order. pictures (N, H, W, C) uint8; labels (N,) int64, the classes asked for; guesses (N,)
    int64, what the judge takes them for; features (N, D) float32; seconds: of generating all of them."""

    pictures: np.ndarray
    labels: np.ndarray
    guesses: np.ndarray
    features: np.ndarray
    seconds: float


def drawn_key(request: SampleRequest, **others: object) -> str:
    """Names the images of a request; others: weights, judge, device and whatever else decides them."""
    asked = {name: value for name, value in asdict(request).items() if name != "batch_size"}
    text = json.dumps({"format": FORMAT, **asked, **others}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def drawn_images(cache_dir: Path, key: str, count: int) -> Drawn | None:
    """The images of an evaluation of `count` images; None when they were not kept, or are not there any more.

    key: of a report, which anybody may have written.
    """
    return DrawnFolder(cache_dir, key).whole(count) if _KEY.fullmatch(key) else None


class DrawnFolder:
    """Where the images of a key are kept. Whatever cannot be kept or read is generated again."""

    def __init__(self, cache_dir: Path, key: str) -> None:
        self.folder = cache_dir / FOLDER / key

    def part(self, first: int, labels: np.ndarray) -> Drawn | None:
        """The batch that begins with image `first`, when exactly that one is there, whole."""
        found = self._read(first)
        return found if found is not None and np.array_equal(found.labels, labels) else None

    def keep(self, first: int, part: Drawn) -> None:
        """Keep a batch durably. A folder that cannot be written costs the keeping."""
        try:
            atomic.make_folder(self.folder)
            atomic.write_bytes(self._path(first), npz_bytes(asdict(part)))
        except OSError as error:
            logger.warning("images of an evaluation cannot be kept in %s: %s", self.folder, error)

    def whole(self, count: int) -> Drawn | None:
        """All `count` images; None where one of them is not there any more."""
        parts: list[Drawn] = []
        while (have := sum(len(part.labels) for part in parts)) < count:
            found = self._read(have)
            if found is None:
                return None
            parts.append(found)
        arrays = ("pictures", "labels", "guesses", "features")
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
        return Drawn(**joined, seconds=sum(part.seconds for part in parts)) if have == count and parts else None

    def _path(self, first: int) -> Path:
        return self.folder / f"images-{first:06d}.npz"

    def _read(self, first: int) -> Drawn | None:
        arrays = read_npz(self._path(first))
        if arrays is None or set(arrays) != set(Drawn.__dataclass_fields__):
            return None
        count = len(arrays["labels"]) if arrays["labels"].ndim == 1 else 0
        shapes = (arrays["pictures"].ndim, arrays["features"].ndim, arrays["guesses"].shape, arrays["seconds"].ndim)
        types = {name: arrays[name].dtype.str for name in ("pictures", "labels", "guesses", "features")}
        if (
            not count
            or shapes != (4, 2, (count,), 0)
            or set(map(len, (arrays["pictures"], arrays["features"]))) != {count}
        ):
            return None
        if types != {"pictures": "|u1", "labels": "<i8", "guesses": "<i8", "features": "<f4"}:
            return None
        seconds = float(arrays.pop("seconds"))
        return Drawn(**arrays, seconds=seconds)
