"""Measures from who lies near whom: precision, recall, density, coverage, and the two that are clipped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import betabinom

from core.errors import UsageError
from core.evaluation.metrics import nearest_others, rows_at_once, squared_distances


@dataclass(frozen=True, kw_only=True)
class Neighbourhoods:
    """Of M generated images among N real ones. precision, recall: arXiv 1904.06991, eqs. 1 and 2. density, coverage:
    arXiv 2002.09797, eqs. 4 and 5. clipped_density, clipped_coverage: arXiv 2507.01761; 1 for images as good as real
    ones, and falling in proportion to the share of bad ones."""

    precision: float
    recall: float
    density: float
    coverage: float
    clipped_density: float
    clipped_coverage: float


def neighbourhoods(real: torch.Tensor, fake: torch.Tensor, k: int, *, block_size: int | None = None) -> Neighbourhoods:
    """All six of fake (M, D) against real (N, D) features, with balls that reach to the k-th neighbour of their center.

    The clipped ones let no image count more than once, and no ball be larger than the median one; density is divided
    by that of real images among each other, coverage is the share of good images that would give it. Distances are
    computed block_size rows at a time. Raises UsageError unless 1 <= k < min(N, M).
    """
    if not 1 <= k < min(len(real), len(fake)):
        raise UsageError(
            f"evaluation.recall_neighbours: {k} needs more than {k} images per side, got {len(real)} real and "
            f"{len(fake)} generated"
        )
    center = real.mean(dim=0)
    real, fake = (real - center).float(), (fake - center).float()
    near, places = nearest_others(real, k, block_size)
    radii, fake_radii = near[:, -1], nearest_others(fake, k, block_size)[0][:, -1]
    most = radii.sqrt().quantile(0.5)
    clipped = radii.clamp(max=float(most) ** 2)
    balls, clipped_balls, reached = [], [], torch.zeros(len(real), dtype=torch.bool)
    inside = torch.zeros(len(real), dtype=torch.int64)
    rows = rows_at_once(real, block_size)
    for part, their in zip(fake.split(rows), fake_radii.split(rows), strict=True):
        distances = squared_distances(part, real)
        within = distances <= radii
        balls.append(within.sum(dim=1))
        clipped_balls.append((distances <= clipped).sum(dim=1))
        inside += within.sum(dim=0)
        reached |= (distances <= their[:, None]).any(dim=0)
    among_real = torch.bincount(places[near.sqrt() <= most], minlength=len(real))
    found, found_clipped = torch.cat(balls), torch.cat(clipped_balls)
    best = _mean_share(among_real, k)
    return Neighbourhoods(
        precision=float((found > 0).double().mean()),
        recall=float(reached.double().mean()),
        density=float(found.double().mean()) / k,
        coverage=float((inside > 0).double().mean()),
        clipped_density=min(1.0, _mean_share(found_clipped, k) / best) if best else 1.0,
        clipped_coverage=share_of_good(_mean_share(inside, k), len(real), len(fake), k),
    )


def share_of_good(covered: float, real: int, fake: int, k: int) -> float:
    """The share (0 to 1) of `fake` images that, distributed as the real ones, give this clipped coverage on average.

    Of m such images a ball holds a beta-binomial number, because it holds k of the real ones.
    """
    good, held = np.arange(fake + 1)[:, None], np.arange(k)
    expected = 1.0 - ((k - held) / k * betabinom.pmf(held, good, k, real - k)).sum(axis=1)
    return float(np.interp(covered, expected, good[:, 0] / fake))


def _mean_share(counts: torch.Tensor, k: int) -> float:
    """How full k places are on average, none more than full."""
    return float(counts.clamp(max=k).double().mean()) / k
