"""The measures themselves, on features and counts: each is a function with its source, none knows a data set."""

from __future__ import annotations

import math
from statistics import NormalDist

import torch
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
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    proportion = successes / n
    centre = (proportion + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(proportion * (1 - proportion) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


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
        raise UsageError(f"FD-judge: needs at least 2 pictures a side, got {len(real)} and {len(fake)}")
    if not (real.isfinite().all() and fake.isfinite().all()):
        raise NonFiniteError("FD-judge: the judge gave features that are NaN or infinite")
    centre = real.double().mean(dim=0)  # the sums of squares stay small, so little is lost in their difference
    metric = FrechetInceptionDistance(feature=_Features(real.shape[1])).set_dtype(torch.float64)
    metric.update(real.double() - centre, real=True)
    metric.update(fake.double() - centre, real=False)
    return max(0.0, float(metric.compute()))


def precision_recall(
    real: torch.Tensor, fake: torch.Tensor, k: int, *, block_size: int | None = None
) -> tuple[float, float]:
    """Improved precision and recall (0 to 1) of fake (M, D) against real (N, D) features.

    Precision: share of fake inside the union of balls around the real, each reaching to its k-th real neighbour (the
    picture itself not counted); recall: the same with the sets exchanged. Distances are computed block_size
    rows at a time (default: as many as make 64 MiB), so that 10,000 a side and more fit into memory.
    Raises UsageError unless 1 <= k < min(N, M). Source: arXiv 1904.06991, eqs. 1 and 2 (there k = 3).
    """
    if not 1 <= k < min(len(real), len(fake)):
        raise UsageError(
            f"evaluation.recall_neighbours: {k} needs more than {k} pictures a side, got {len(real)} real and "
            f"{len(fake)} generated"
        )
    centre = real.mean(dim=0)
    real, fake = (real - centre).float(), (fake - centre).float()
    real_radii, fake_radii = _squared_radii(real, k, block_size), _squared_radii(fake, k, block_size)
    return _share_covered(fake, real, real_radii, block_size), _share_covered(real, fake, fake_radii, block_size)


def nearest_distances(
    queries: torch.Tensor, references: torch.Tensor, *, block_size: int | None = None
) -> torch.Tensor:
    """(M,) Euclidean distance of each of queries (M, D) to its nearest of references (N, D)."""
    centre = references.mean(dim=0)
    queries, references = (queries - centre).float(), (references - centre).float()
    parts = [
        _squared_distances(block, references).amin(dim=1) for block in queries.split(_rows(references, block_size))
    ]
    return torch.cat(parts).sqrt()


def copy_ratio(fake: torch.Tensor, train: torch.Tensor, heldout: torch.Tensor) -> float:
    """Median distance of the fake to their nearest training picture, over that of held-out real pictures.

    About 1 for pictures that are as new as real ones, 0 for copies of training pictures; NaN-free: 1 when the
    held-out ones are themselves copies. The idea of a three-sample test of data copying: arXiv 2004.05675.
    """
    base = float(nearest_distances(heldout, train).median())
    found = float(nearest_distances(fake, train).median())
    return found / base if base > 0.0 else 1.0


def _squared_distances(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    products = torch.addmm(right.square().sum(dim=1)[None], left, right.T, alpha=-2.0)
    return products.add_(left.square().sum(dim=1, keepdim=True)).clamp_(min=0.0)


def _squared_radii(points: torch.Tensor, k: int, block_size: int | None) -> torch.Tensor:
    parts = []
    rows_at_once = _rows(points, block_size)
    for start in range(0, len(points), rows_at_once):
        distances = _squared_distances(points[start : start + rows_at_once], points)
        rows = torch.arange(len(distances))
        distances[rows, start + rows] = torch.inf  # not its own neighbour
        parts.append(distances.topk(k, dim=1, largest=False).values[:, -1])
    return torch.cat(parts)


def _share_covered(points: torch.Tensor, centres: torch.Tensor, radii: torch.Tensor, block_size: int | None) -> float:
    blocks = points.split(_rows(centres, block_size))
    covered = sum(int((_squared_distances(block, centres) <= radii).any(dim=1).sum()) for block in blocks)
    return covered / len(points)


def _rows(columns: torch.Tensor, block_size: int | None) -> int:
    return block_size or max(1, BLOCK_FLOATS // len(columns))
