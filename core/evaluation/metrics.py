"""The measures themselves, on features and counts: each is a function with its source, none knows a dataset."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from scipy.stats import binomtest
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from core.errors import NonFiniteError, UsageError


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a proportion: (low, high) in [0, 1]; (0, 1) when n is 0.

    Raises ValueError unless 0 <= successes <= n and 0 < confidence < 1.
    Source: Wilson 1927, doi 10.1080/01621459.1927.10502953; Brown, Cai and DasGupta 2001, doi 10.1214/ss/1009213286.
    """
    if not 0 <= successes <= n or not 0.0 < confidence < 1.0:
        raise ValueError(f"wilson_interval: {successes} of {n} at confidence {confidence} is not a proportion")
    if n == 0:
        return 0.0, 1.0
    found = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


BLOCK_FLOATS = 2**24


class _Features(nn.Module):
    """What torchmetrics calls instead of Inception: the features are computed already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def frechet_distance(real: torch.Tensor, fake: torch.Tensor) -> float:
    """Squared Fréchet distance of two feature sets (N, D), (M, D), each taken as a Gaussian; float64 throughout.

    |mean difference|² + Tr(A + B - 2 (A B)^½) with unbiased covariances A, B; computed by torchmetrics. It is biased
    upwards by about 1/N, so it stands beside N and a floor. Called FD-judge on the judge's features, not FID.
    Raises UsageError when a set has fewer than 2 pictures, NonFiniteError when a feature is NaN or infinite (the
    eigenvalue routine underneath would end the process). Source: arXiv 1706.08500, eq. 6.
    """
    if len(real) < 2 or len(fake) < 2:
        raise UsageError(f"FD-judge: needs at least 2 images per side, got {len(real)} and {len(fake)}")
    if not (real.isfinite().all() and fake.isfinite().all()):
        raise NonFiniteError("FD-judge: the judge gave features that are NaN or infinite")
    centre = real.double().mean(dim=0)  # the sums of squares stay small, so little is lost in their difference
    features = _Features(real.shape[1])  # the other ranks of a training have no part in it
    metric = FrechetInceptionDistance(feature=features, sync_on_compute=False).set_dtype(torch.float64)
    metric.update(real.double() - centre, real=True)
    metric.update(fake.double() - centre, real=False)
    return max(0.0, float(metric.compute()))


class FrechetReference:
    """The real side of many Fréchet distances: its moments and their root are computed once. real: (N, D)."""

    def __init__(self, real: torch.Tensor) -> None:
        if len(real) < 2:
            raise UsageError(f"FD-judge: needs at least 2 real images, got {len(real)}")
        self.mean = real.double().mean(dim=0)
        centred = real.double() - self.mean
        self.covariance = centred.T @ centred / (len(real) - 1)
        values, vectors = torch.linalg.eigh(self.covariance)
        self.root = vectors * values.clamp(min=0.0).sqrt() @ vectors.T

    def distance(self, fake: torch.Tensor) -> float:
        """As `frechet_distance(real, fake)`, within float rounding."""
        return float(self.distances(fake, torch.ones(1, len(fake), dtype=torch.float64))[0])

    def influence(self, fake: torch.Tensor) -> np.ndarray:
        """(M,) float64: how much more of picture i of fake (M, D) would move the squared distance, to first order.

        The gradient of the distance by mean and covariance of the fake, at what these are. Its mean is 0.
        """
        shifted = fake.double() - self.mean
        mean = shifted.mean(dim=0)
        centred = shifted - mean
        covariance = centred.T @ centred / (len(fake) - 1)
        values, vectors = torch.linalg.eigh(self.root @ covariance @ self.root)
        kept = values > values[-1] * 1e-9
        inverse = vectors[:, kept] / values[kept].sqrt() @ vectors[:, kept].T
        gradient = torch.eye(len(mean), dtype=torch.float64) - self.root @ inverse @ self.root
        squares = ((centred @ gradient) * centred).sum(dim=1)
        return (2.0 * centred @ mean + squares - squares.mean()).numpy()

    def distances(self, fake: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """(R,) squared Fréchet distances of R resamples of fake (M, D), float64.

        weights: (R, M), how often each picture was drawn; each row sums to M. Raises NonFiniteError for features that
        are NaN or infinite, UsageError for fewer than 2 pictures.
        """
        count = len(fake)
        if count < 2:
            raise UsageError(f"FD-judge: needs at least 2 images per side, got {count}")
        if not fake.isfinite().all():
            raise NonFiniteError("FD-judge: the judge gave features that are NaN or infinite")
        shifted = fake.double() - self.mean
        means = weights.double() @ shifted / count  # (R, D)
        found = []
        for row, mean in zip(weights.double(), means, strict=True):
            second = (shifted * row[:, None]).T @ shifted
            covariance = (second - count * torch.outer(mean, mean)) / (count - 1)
            inner = torch.linalg.eigvalsh(self.root @ covariance @ self.root).clamp(min=0.0).sqrt().sum()
            found.append(mean @ mean + self.covariance.trace() + covariance.trace() - 2.0 * inner)
        return torch.stack(found).clamp(min=0.0)


def kernel_distance(real: torch.Tensor, fake: torch.Tensor) -> tuple[float, np.ndarray]:
    """KID of fake (M, D) against real (N, D): (value, what each of the fake contributes (M,)), float64.

    The unbiased estimate of the squared maximum mean discrepancy with the kernel (x·y / D + 1)³: its expectation does
    not depend on M, and it may be below 0. Needs M × N numbers of memory. Raises UsageError for fewer than 2 images.
    Source: arXiv 1801.01401, section 3.
    """
    if len(real) < 2 or len(fake) < 2:
        raise UsageError(f"KID: needs at least 2 images per side, got {len(real)} and {len(fake)}")
    real, fake = real.double(), fake.double()

    def kernel(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return (left @ right.T / left.shape[1] + 1.0).pow_(3)

    among_real, among_fake, between = kernel(real, real), kernel(fake, fake), kernel(fake, real)
    own = (among_fake.sum(dim=1) - among_fake.diagonal()) / (len(fake) - 1)
    others = between.mean(dim=1)
    first = float(among_real.sum() - among_real.diagonal().sum()) / (len(real) * (len(real) - 1))
    influence = 2.0 * (own - others)
    return first + float(own.mean() - 2.0 * others.mean()), (influence - influence.mean()).numpy()


def nearest(queries: torch.Tensor, references: Iterable[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """(Euclidean distance (M,), place (M,) int64) of each of queries (M, D)'s nearest reference.

    references: blocks (·, D) that follow each other, so that not all need to be in memory; ties go to the first.
    """
    best = torch.full((len(queries),), torch.inf)
    places = torch.zeros(len(queries), dtype=torch.int64)
    seen = 0
    for block in references:
        found = squared_distances(queries, block).min(dim=1)
        closer = found.values < best
        best = torch.where(closer, found.values, best)
        places = torch.where(closer, found.indices + seen, places)
        seen += len(block)
    return best.sqrt(), places


def nearest_distances(
    queries: torch.Tensor, references: torch.Tensor, *, block_size: int | None = None
) -> torch.Tensor:
    """(M,) Euclidean distance of each of queries (M, D) to its nearest of references (N, D)."""
    centre = references.mean(dim=0)
    queries, references = (queries - centre).float(), (references - centre).float()
    return nearest(queries, references.split(rows_at_once(queries, block_size)))[0]


def copy_ratio(fake: torch.Tensor, train: torch.Tensor, heldout: torch.Tensor) -> float:
    """Median distance of the fake to their nearest training picture, over that of held-out real pictures.

    About 1 for pictures that are as new as real ones, 0 for copies of training pictures; NaN-free: 1 when the
    held-out ones are themselves copies. The idea of a three-sample test of data copying: arXiv 2004.05675.
    """
    base = float(nearest_distances(heldout, train).median())
    found = float(nearest_distances(fake, train).median())
    return found / base if base > 0.0 else 1.0


def squared_distances(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """(M, N) squared Euclidean distances of left (M, D) and right (N, D)."""
    products = torch.addmm(right.square().sum(dim=1)[None], left, right.T, alpha=-2.0)
    return products.add_(left.square().sum(dim=1, keepdim=True)).clamp_(min=0.0)


def nearest_others(points: torch.Tensor, k: int, block_size: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The k nearest others of each of points (N, D): (squared distances (N, k), growing, and places (N, k))."""
    parts = []
    rows_per_block = rows_at_once(points, block_size)
    for start in range(0, len(points), rows_per_block):
        distances = squared_distances(points[start : start + rows_per_block], points)
        rows = torch.arange(len(distances))
        distances[rows, start + rows] = torch.inf  # not its own neighbour
        parts.append(distances.topk(k, dim=1, largest=False))
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def rows_at_once(columns: torch.Tensor, block_size: int | None) -> int:
    """How many rows of distances to `columns` make 64 MiB."""
    return block_size or max(1, BLOCK_FLOATS // len(columns))
