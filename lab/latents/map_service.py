"""The map of a VAE's latents for a screen: pictures, components, walks, neighbours, class means, traversals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

import numpy as np

from core.compute.questions import DECODE_LATENTS, MAP_LATENTS
from core.latent.inspection import projection
from core.latent.inspection.projection import LatentMap
from core.latent.inspection.walks import channel_offsets, class_means, direction_offsets, nearest, walk
from lab.latents.memoize_bytes import kept, memoize_bytes
from lab.latents.vae_service import Chosen, asked_vae, name_of
from lab.services.background import Tell
from lab.services.computing import ask, asked
from lab.services.settings import current_site

COUNTS = (500, 1000, 2000)
MOST_CHANNELS = 8
MOST_MEANS = 12
WALK_FRAMES = 17
DEVIATIONS = np.linspace(-3.0, 3.0, 13)  # a picked picture must answer within 0.3 s


def latent_map(chosen: Chosen, count: int) -> Callable[[Tell, Callable[[], bool]], LatentMap]:
    """The task that finds the map's pictures and principal components; at most `count`, always the same ones."""
    return kept(("map", *name_of(chosen), count), asked(MAP_LATENTS, asked_vae(chosen), count, current_site()))


def embedding(
    chosen: Chosen, found: LatentMap, dimensions: int, on_progress: Callable[[str, float], None] | None = None
) -> np.ndarray:
    """t-SNE of the map's pictures (N, 2 or 3), from memory, from disk, or computed now, which takes seconds.

    It ends when `on_progress` raises. Raises a LabError.
    """
    folder = current_site().cache
    return memoize_bytes(
        ("t-sne", *name_of(chosen), len(found.labels), dimensions),
        lambda: projection.kept_embedding(
            found.latents,
            dimensions,
            key=_key(found),
            cache_dir=folder,
            compute=partial(projection.embed, progress=on_progress),
        ),
    )


def is_embedded(chosen: Chosen, found: LatentMap, dimensions: int) -> bool:
    """True when `embedding` would answer at once."""
    folder = current_site().cache
    return projection.is_kept(len(found.labels), dimensions, key=_key(found), cache_dir=folder)


def walk_pictures(chosen: Chosen, found: LatentMap, start: int, end: int) -> list[np.ndarray]:
    """Straight and spherical walk between two pictures of the map, decoded: two layers (F, 1, H, W, C) uint8."""

    def make() -> list[np.ndarray]:
        ways = [walk(found.latents[start], found.latents[end], WALK_FRAMES, route) for route in ("linear", "spherical")]
        pictures = _decoded(chosen, np.concatenate(ways))
        return list(pictures.reshape(2, WALK_FRAMES, 1, *pictures.shape[1:]))

    return memoize_bytes(("walk", *name_of(chosen), len(found.labels), start, end), make)


def walk_lengths(found: LatentMap, start: int, end: int) -> tuple[float, float, float]:
    """(norm at the ends on average, norm in the middle of the straight walk, distance between the ends)."""
    first, second = found.latents[start], found.latents[end]
    ends = (np.linalg.norm(first) + np.linalg.norm(second)) / 2
    return float(ends), float(np.linalg.norm((first + second) / 2)), float(np.linalg.norm(first - second))


def neighbours(found: LatentMap, index: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(indices, distances) of the nearest pictures of the map."""
    return nearest(found.latents, index, count)


def mean_pictures(chosen: Chosen, found: LatentMap) -> tuple[np.ndarray, np.ndarray]:
    """For each of the first 12 classes (K, H, W, C) uint8: its mean latent decoded, and the mean of its pixels."""

    def make() -> tuple[np.ndarray, np.ndarray]:
        count, few = min(MOST_MEANS, len(found.class_names)), found.labels < MOST_MEANS
        decoded = _decoded(chosen, class_means(found.latents[few], found.labels[few], count))
        pixels = class_means(found.images[few].astype(np.float32), found.labels[few], count)
        return decoded, pixels.round().astype(np.uint8)

    return memoize_bytes(("means", *name_of(chosen), len(found.labels)), make)


def traversal(chosen: Chosen, found: LatentMap, start: int, along: str) -> np.ndarray:
    """(F, k, H, W, C) uint8: from one picture's latent along each channel, or each principal direction.

    A channel moves by deviations of the latents (1), a direction by its own spread.
    """

    def make() -> np.ndarray:
        base = found.latents[start]
        shape = (int(base.shape[0]), int(base.shape[1]), int(base.shape[2]))
        if along == "channels":
            offsets = channel_offsets(shape, DEVIATIONS)[:, :MOST_CHANNELS]
        else:
            parts = found.components
            offsets = direction_offsets(parts.directions, parts.spreads, DEVIATIONS, shape)
        moved = (base[None, None] + offsets).reshape(-1, *shape)
        pictures = _decoded(chosen, moved)
        return pictures.reshape(*offsets.shape[:2], *pictures.shape[1:])

    return memoize_bytes(("traversal", *name_of(chosen), len(found.labels), start, along), make)


def _decoded(chosen: Chosen, latents: np.ndarray) -> np.ndarray:
    return ask(DECODE_LATENTS, asked_vae(chosen), latents, current_site())


def _key(found: LatentMap) -> str:
    """Names the very latents: weights, pictures and scaling."""
    return f"{found.key}-{hashlib.sha256(found.latents.tobytes()).hexdigest()[:16]}"
