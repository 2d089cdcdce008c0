"""Does the model draw its training pictures again, plain or disguised? A test calibrated by held-out real pictures.

Real pictures that nobody learned from go through the same comparison, so that "near" means nearer than those. A
picture's distance to its nearest training picture counts relative to that of its 50 nearest: a copy has one neighbour
that is much nearer than the others, where a typical picture has many near ones (arXiv 2301.13188, section 4.2).
Two comparisons: features of the judge, and pixels after undoing small shifts, rotations, noise and dimming.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import betabinom, mannwhitneyu
from torch import nn

from core.evaluation.judge import Judge, split_features
from core.evaluation.labels import drawn_rows
from core.evaluation.memorization_results import QUANTILE, CopyTest, Memorization
from core.evaluation.metrics import wilson_interval

if TYPE_CHECKING:
    from core.data.arrays import ImageSet

MOST = 500  # generated pictures
HELDOUT_EACH = 2  # held-out pictures per generated one, where there are so many
NEIGHBOURS = 50
CANDIDATES = 25  # of the pixels and of the features each, among which pixels are aligned
SIDE, COARSE = 32, 8  # pixels: of the aligned comparison, and of the search for candidates
SHIFTS, ANGLES = (-2, -1, 0, 1, 2), (-12.0, -6.0, 0.0, 6.0, 12.0)  # pixels of 32; degrees
BLOCK = 1 << 25  # numbers at a time
OnProgress = Callable[[str, float], None]


def memorization(
    pictures: np.ndarray,
    labels: np.ndarray,
    *,
    judge: Judge,
    image_set: ImageSet,
    seed: int,
    progress: OnProgress | None = None,
) -> Memorization | None:
    """Test the first 500 of generated pictures (N, H, W, C) uint8 of classes `labels`, N or more.

    Held-out pictures come in the same classes. None where there are fewer than 20 of either, or of training pictures.
    """
    pictures = pictures[:MOST]
    labels = np.asarray(labels[: len(pictures)])
    heldout_labels = np.asarray(image_set.heldout.labels)
    counts = HELDOUT_EACH * np.bincount(labels, minlength=image_set.num_classes)
    rows = drawn_rows(heldout_labels, counts, seed, "memorization")
    if min(len(pictures), len(rows), len(image_set.train.labels)) < 20:
        return None
    train = split_features(judge, image_set, "train")
    queries = np.concatenate([pictures, np.asarray(image_set.heldout.images[np.sort(rows)])])
    features = torch.cat([judge.look(part)[0] for part in np.array_split(queries, max(1, len(queries) // 500))])
    by_feature, places = _nearest(features, lambda start, stop: train[start:stop], len(train), NEIGHBOURS)
    if progress:
        progress("Comparing with the training images", 0.3)
    aligned, aligned_places = _aligned(queries, places[:, :CANDIDATES], image_set.train.images)
    if progress:
        progress("Comparing with the training images", 1.0)
    count, classes = len(pictures), np.asarray(image_set.train.labels)
    return Memorization(
        num_generated=count,
        num_heldout=len(rows),
        num_train=len(train),
        features=copy_test(by_feature, classes[places[:, 0]], count),
        pixels=copy_test(aligned, classes[aligned_places], count),
    )


def copy_test(distances: torch.Tensor, cells: np.ndarray, count: int) -> CopyTest:
    """What relative distances say: of `count` generated pictures first, then of held-out ones.

    distances (N, k): to the nearest training pictures, ascending. cells (N,): the class of the nearest one. The share
    is that of generated ones below the held-out 1 % quantile; its chance follows the beta-binomial distribution,
    because the quantile is itself drawn. C_T is the mean over cells of the Mann-Whitney statistic, each weighted by
    its share of the held-out pictures (arXiv 2004.05675, section 3; cells are classes here, not clusters).
    """
    relative = (distances[:, 0] / distances.mean(dim=1).clamp_min(1e-12)).double().numpy()
    drawn, real = relative[:count], relative[count:]
    rank = max(1, round(QUANTILE * len(real)))
    near = int((drawn < np.sort(real)[rank - 1]).sum())
    low, high = wilson_interval(near, count)
    statistic, spread = c_t(drawn, real, cells[:count], cells[count:])
    return CopyTest(
        share=near / count,
        low=low,
        high=high,
        expected=rank / (len(real) + 1),
        chance=chance_of_at_least(near, count, rank, len(real)),
        c_t=statistic,
        c_t_chance=NormalDist().cdf(statistic / spread) if spread else 1.0,
    )


def c_t(drawn: np.ndarray, real: np.ndarray, drawn_cells: np.ndarray, real_cells: np.ndarray) -> tuple[float, float]:
    """(C_T, its standard deviation without copying): below 0 where generated pictures lie nearer than real ones.

    Cells with fewer than 5 of either are left out; (0, 0) without any other.
    """
    found, weights = [], []
    for cell in np.unique(real_cells):
        a, b = drawn[drawn_cells == cell], real[real_cells == cell]
        if min(len(a), len(b)) < 5:
            continue
        middle, pairs = 0.5 * len(a) * len(b), len(a) * len(b)
        farther = mannwhitneyu(a, b, method="asymptotic").statistic  # pairs, ties by half
        found.append((farther - middle) / math.sqrt(pairs * (len(a) + len(b) + 1) / 12))
        weights.append(len(b))
    if not found:
        return 0.0, 0.0
    share = np.array(weights) / sum(weights)
    return float((share * found).sum()), float(np.sqrt((share**2).sum()))


def chance_of_at_least(near: int, count: int, rank: int, real: int) -> float:
    """That `near` or more of `count` values lie below the rank-th smallest of `real` values of the same distribution.

    The share below it is Beta(rank, real + 1 - rank), so the number is beta-binomial.
    """
    return float(betabinom.sf(near - 1, count, rank, real + 1 - rank))


def _nearest(
    queries: torch.Tensor, block: Callable[[int, int], torch.Tensor], total: int, count: int
) -> tuple[torch.Tensor, np.ndarray]:
    """(distances, places) (N, count) of the nearest rows, ascending; block(start, stop) gives rows (·, D)."""
    count = min(count, total)
    rows = max(count, BLOCK // 4 // len(queries))
    best = torch.full((len(queries), 0), torch.inf)
    where = torch.empty((len(queries), 0), dtype=torch.long)
    for start in range(0, total, rows):
        part = block(start, min(total, start + rows)).float()
        squared = torch.addmm(part.square().sum(dim=1)[None], queries, part.T, alpha=-2.0)
        near, places = squared.topk(min(count, len(part)), dim=1, largest=False)
        best, where = torch.cat([best, near], dim=1), torch.cat([where, places + start], dim=1)
        best, order = best.topk(min(count, best.shape[1]), dim=1, largest=False)
        where = where.gather(1, order)
    distances = (best + queries.square().sum(dim=1, keepdim=True)).clamp_min(0).sqrt()
    return distances, where.numpy()


def _aligned(queries: np.ndarray, candidates: np.ndarray, images: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    """(distances (N, K) ascending, place of the nearest (N,)) among candidates (N, k) and as many of like pixels.

    The distance is √(2 - 2 · correlation), the smallest over all shifts and rotations of the query.
    """
    small = unit(plain(queries), COARSE)
    _, like = _nearest(small, lambda start, stop: unit(plain(images[start:stop]), COARSE), len(images), CANDIDATES)
    places = np.concatenate([candidates, like], axis=1)
    found, first = [], []
    versions = len(SHIFTS) ** 2 * len(ANGLES)
    rows = max(1, BLOCK // (SIDE * SIDE * (versions + places.shape[1])))
    for start in range(0, len(queries), rows):
        mine = places[start : start + rows]
        others = unit(plain(images[mine.reshape(-1)]), SIDE).view(*mine.shape, -1)
        moved = torch.stack([unit(each, SIDE) for each in moves(plain(queries[start : start + rows]))], dim=1)
        likeness = torch.bmm(moved, others.transpose(1, 2)).amax(dim=1)
        distance, order = (2 - 2 * likeness).clamp_min(0).sqrt().sort(dim=1)
        found.append(distance)
        first.append(mine[np.arange(len(mine)), order[:, 0].numpy()])
    return torch.cat(found), np.concatenate(first)


def plain(images: np.ndarray) -> torch.Tensor:
    """uint8 (N, H, W, C) → gray (N, 1, s, s) float32 in [0, 1] with s = 32, blurred over 3 × 3 pixels against noise."""
    gray = torch.from_numpy(np.asarray(images).mean(axis=3, dtype=np.float32)[:, None] / 255)
    if gray.shape[2] != SIDE:
        gray = nn.functional.interpolate(gray, size=(SIDE, SIDE), mode="area" if gray.shape[2] > SIDE else "bilinear")
    return nn.functional.avg_pool2d(gray, 3, stride=1, padding=1, count_include_pad=False)


def unit(gray: torch.Tensor, side: int) -> torch.Tensor:
    """(N, 1, s, s) → (N, side²) of mean 0 and length 1: the products are correlations, blind to dimming."""
    flat = nn.functional.adaptive_avg_pool2d(gray, side).flatten(1) if side != gray.shape[2] else gray.flatten(1)
    flat = flat - flat.mean(dim=1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-6)


def moves(gray: torch.Tensor) -> list[torch.Tensor]:
    """(N, 1, s, s) → the same turned by each angle and shifted by each pair of shifts, empty parts as at the border."""
    found, edge = [], max(SHIFTS)
    for angle in ANGLES:
        turn = math.radians(angle)
        matrix = torch.tensor([[math.cos(turn), -math.sin(turn), 0.0], [math.sin(turn), math.cos(turn), 0.0]])
        grid = nn.functional.affine_grid(matrix.expand(len(gray), 2, 3), list(gray.shape), align_corners=False)
        turned = nn.functional.grid_sample(gray, grid, padding_mode="border", align_corners=False)
        wide = nn.functional.pad(turned, (edge,) * 4, mode="replicate")
        found += [
            wide[:, :, edge + down : edge + down + SIDE, edge + right : edge + right + SIDE]
            for down in SHIFTS
            for right in SHIFTS
        ]
    return found
