"""The map of a VAE's latents for a screen: pictures, components, walks, neighbours, class means, traversals.

PyTorch is imported inside the functions that decode.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial

import numpy as np

from core.errors import UsageError
from core.latent.inspection import projection
from core.latent.inspection.projection import Components
from core.latent.inspection.walks import channel_offsets, class_means, direction_offsets, nearest, walk
from lab.latents import vae_service
from lab.latents.memoize_bytes import indices_of, memoize_bytes, study_of
from lab.latents.vae_service import Chosen, Progress
from lab.services.settings import current_site

COUNTS = (500, 1000, 2000)
COMPONENTS = 8
MOST_MEANS = 12
WALK_FRAMES = 17
DEVIATIONS = np.linspace(-3.0, 3.0, 13)  # a picked picture must answer within 0.3 s


@dataclass(frozen=True, kw_only=True)
class LatentMap:
    """N held-out pictures on the map: images (N, H, W, C) uint8, labels (N,), latents (N, c, h, w) as a U-Net sees them
    (posterior means), and their principal components. key names VAE and pictures; spread: deviation of the latents,
    of which the rest up to 1 is posterior noise."""

    key: str
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    latents: np.ndarray
    components: Components
    spread: float


def latent_map(chosen: Chosen, count: int, on_progress: Progress | None = None) -> LatentMap:
    """The map's pictures and principal components; at most `count`, always the same ones."""

    def make() -> LatentMap:
        study = study_of(chosen, on_progress)
        indices = indices_of(len(study.labels), count)
        chosen_latents = np.ascontiguousarray(study.latents[indices])
        if len(indices) < 2:
            raise UsageError(f"{chosen.view.id}: the map needs at least 2 held-out pictures, got {len(indices)}")
        return LatentMap(
            key=study.key,
            images=np.array(study.images[indices]),
            labels=np.array(study.labels[indices]),
            class_names=study.class_names,
            latents=chosen_latents,
            components=projection.principal_components(chosen_latents, COMPONENTS),
            spread=float(chosen_latents.std(axis=0).mean()),
        )

    return memoize_bytes(("map", *vae_service.name_of(chosen), count), make)


def embedding(chosen: Chosen, found: LatentMap, dimensions: int, on_progress: Progress | None = None) -> np.ndarray:
    """t-SNE of the map's pictures (N, 2 or 3), from memory, from disk, or computed now, which takes seconds.

    It ends when `on_progress` raises. Raises a LabError.
    """
    folder = current_site().cache
    return memoize_bytes(
        ("t-sne", *vae_service.name_of(chosen), len(found.labels), dimensions),
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
        pictures = study_of(chosen).decode(np.concatenate(ways))
        return list(pictures.reshape(2, WALK_FRAMES, 1, *pictures.shape[1:]))

    return memoize_bytes(("walk", *vae_service.name_of(chosen), len(found.labels), start, end), make)


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
        decoded = study_of(chosen).decode(class_means(found.latents[few], found.labels[few], count))
        pixels = class_means(found.images[few].astype(np.float32), found.labels[few], count)
        return decoded, pixels.round().astype(np.uint8)

    return memoize_bytes(("means", *vae_service.name_of(chosen), len(found.labels)), make)


def traversal(chosen: Chosen, found: LatentMap, start: int, along: str) -> np.ndarray:
    """(F, k, H, W, C) uint8: from one picture's latent along each channel, or each principal direction.

    A channel moves by deviations of the latents (1), a direction by its own spread.
    """

    def make() -> np.ndarray:
        base = found.latents[start]
        shape = (int(base.shape[0]), int(base.shape[1]), int(base.shape[2]))
        if along == "channels":
            offsets = channel_offsets(shape, DEVIATIONS)[:, :COMPONENTS]
        else:
            parts = found.components
            offsets = direction_offsets(parts.directions, parts.spreads, DEVIATIONS, shape)
        moved = (base[None, None] + offsets).reshape(-1, *shape)
        pictures = study_of(chosen).decode(moved)
        return pictures.reshape(*offsets.shape[:2], *pictures.shape[1:])

    return memoize_bytes(("traversal", *vae_service.name_of(chosen), len(found.labels), start, along), make)


def _key(found: LatentMap) -> str:
    """Names the very latents: weights, pictures and scaling."""
    return f"{found.key}-{hashlib.sha256(found.latents.tobytes()).hexdigest()[:16]}"
