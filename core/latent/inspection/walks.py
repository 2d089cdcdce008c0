"""Ways through the latents: straight and spherical walks, class means, traversals, nearest neighbours.

All take latents as NumPy arrays (N, c, h, w), normalised as the U-Net sees them, and know no network.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Route = Literal["linear", "spherical"]
LEAST_ANGLE = 1e-6


def walk(start: np.ndarray, end: np.ndarray, frames: int, route: Route) -> np.ndarray:
    """(F, c, h, w): from start to end (c, h, w) in equal steps, both ends exactly as given."""
    shares = np.linspace(0.0, 1.0, frames)
    between = lerp if route == "linear" else slerp
    steps = np.stack([between(start, end, float(share)) for share in shares])
    steps[0], steps[-1] = start, end
    return steps.astype(np.float32)


def lerp(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    """The point that far along the straight line; 0 is start, 1 is end."""
    return np.asarray((1.0 - share) * start + share * end)


def slerp(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    """The point that far along the great circle: direction and norm go evenly from one end to the other.

    The middle of a straight line between two latents of many dimensions is shorter than any latent the decoder has
    seen; this keeps the length. Opposite or parallel directions have no single great circle and take the straight
    line. Source: arXiv 1609.04468, section 2.1 (there for equal norms).
    """
    first, second = np.linalg.norm(start), np.linalg.norm(end)
    if first == 0.0 or second == 0.0:
        return lerp(start, end, share)
    one, two = start / first, end / second
    angle = float(np.arccos(np.clip((one * two).sum(), -1.0, 1.0)))
    if angle < LEAST_ANGLE or np.pi - angle < LEAST_ANGLE:
        return lerp(start, end, share)
    turned = (np.sin((1.0 - share) * angle) * one + np.sin(share * angle) * two) / np.sin(angle)
    return np.asarray(turned * ((1.0 - share) * first + share * second))


def class_means(latents: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(K, c, h, w): the mean latent of each class; zeros, the mean of all, for a class without pictures."""
    means = np.zeros((num_classes, *latents.shape[1:]), dtype=np.float32)
    for label in range(num_classes):
        chosen = latents[labels == label]
        if len(chosen):
            means[label] = chosen.mean(axis=0)
    return means


def channel_offsets(shape: tuple[int, int, int], deviations: np.ndarray) -> np.ndarray:
    """(F, c, c, h, w) for deviations (F,): frame f, picture k moves channel k by deviations[f] everywhere."""
    channels = shape[0]
    return np.asarray(
        deviations[:, None, None, None, None]
        * np.eye(channels)[None, :, :, None, None]
        * np.ones((1, 1, 1, *shape[1:])),
        dtype=np.float32,
    )


def direction_offsets(
    directions: np.ndarray, spreads: np.ndarray, deviations: np.ndarray, shape: tuple[int, int, int]
) -> np.ndarray:
    """(F, k, c, h, w): frame f, picture k moves along directions[k] (k, D) by deviations[f] of its own spread (k,)."""
    moves = deviations[:, None, None] * spreads[None, :, None] * directions[None]
    return np.asarray(moves.reshape(len(deviations), len(directions), *shape), dtype=np.float32)


def nearest(latents: np.ndarray, index: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(indices, distances) of the `count` latents nearest to number `index`, nearest first, itself left out.

    Euclidean distance over all channels and sites.
    """
    flat = latents.reshape(len(latents), -1).astype(np.float32)
    distances = np.linalg.norm(flat - flat[index], axis=1)
    distances[index] = np.inf
    order = np.argsort(distances, kind="stable")[: min(count, len(latents) - 1)]
    return order, distances[order]


def share_of_same_class(labels: np.ndarray, index: int, neighbours: np.ndarray) -> float:
    """How many of the neighbours have the class of `index`, 0 to 1."""
    return float((labels[neighbours] == labels[index]).mean()) if len(neighbours) else 0.0
