from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from core.errors import NonFiniteError, UsageError
from core.evaluation.metrics import (
    FrechetReference,
    copy_ratio,
    frechet_distance,
    kernel_distance,
    nearest_distances,
    wilson_interval,
)


def normal(count: int, dimensions: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_exact_moments(mean: torch.Tensor, covariance: torch.Tensor, seed: int) -> torch.Tensor:
    """Points whose sample mean and unbiased sample covariance are exactly these."""
    raw = normal(400, len(mean), seed)
    raw = raw - raw.mean(dim=0)
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(raw.T)), raw.T, upper=False).T
    return whitened @ torch.linalg.cholesky(covariance).T + mean


# Newcombe 1998, doi 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, method 3
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_agrees_with_the_published_table(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_is_symmetric_in_success_and_failure() -> None:
    low, high = wilson_interval(3, 50, 0.9)
    assert wilson_interval(47, 50, 0.9) == pytest.approx((1 - high, 1 - low))


def test_wilson_interval_of_nothing_is_everything() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "n", "confidence"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0), (1, 2, 0.0)])
def test_wilson_interval_refuses_what_is_no_proportion(successes: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="not a proportion"):
        wilson_interval(successes, n, confidence)


def test_frechet_distance_of_two_gaussians_is_the_closed_form() -> None:
    zero, ones = torch.zeros(3).double(), torch.ones(3).double()
    first = with_exact_moments(zero, torch.diag(torch.tensor([1.0, 4.0, 9.0]).double()), seed=1)
    second = with_exact_moments(2 * ones, torch.diag(torch.tensor([4.0, 4.0, 1.0]).double()), seed=2)
    expected = 3 * 2.0**2 + (1 - 2) ** 2 + (2 - 2) ** 2 + (3 - 1) ** 2
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_agrees_with_a_direct_computation_by_scipy() -> None:
    mixing = normal(32, 32, seed=5)
    real, fake = (normal(900, 32, 3) @ mixing).float(), (normal(300, 32, 4) @ mixing + 0.3).float()
    means = [points.double().mean(dim=0).numpy() for points in (real, fake)]
    first, second = (np.cov(points.double().numpy().T) for points in (real, fake))
    root = scipy.linalg.sqrtm(first @ second).real
    expected = np.sum((means[0] - means[1]) ** 2) + np.trace(first + second - 2 * root)
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-7)


def test_frechet_distance_to_itself_is_zero() -> None:
    points = normal(500, 16).float()
    assert frechet_distance(points, points.clone()) == pytest.approx(0.0, abs=1e-6)


def test_frechet_distance_does_not_depend_on_where_the_features_lie() -> None:
    real, fake = normal(400, 8, 1), normal(400, 8, 2)
    assert frechet_distance(real + 1e5, fake + 1e5) == pytest.approx(frechet_distance(real, fake), rel=1e-6)


def test_frechet_distance_survives_fewer_pictures_than_features() -> None:
    distance = frechet_distance(normal(500, 64, 1), normal(10, 64, 2))
    assert np.isfinite(distance)
    assert distance > 1.0


def test_frechet_distance_needs_two_pictures_a_side() -> None:
    with pytest.raises(UsageError, match="at least 2 images"):
        frechet_distance(normal(5, 4), normal(1, 4))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("side", [0, 1])
def test_frechet_distance_refuses_features_that_are_no_numbers(side: int, value: float) -> None:
    sides = [normal(20, 4, 1), normal(20, 4, 2)]
    sides[side][3, 1] = value
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        frechet_distance(*sides)


def naive_kernel_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """arXiv 1801.01401, section 3, pair by pair."""
    size = real.shape[1]

    def mean(left: np.ndarray, right: np.ndarray, same: bool) -> float:
        pairs = [(x @ y / size + 1) ** 3 for i, x in enumerate(left) for j, y in enumerate(right) if not same or i != j]
        return float(np.mean(pairs))

    return mean(real, real, True) + mean(fake, fake, True) - 2 * mean(real, fake, False)


def test_the_kernel_distance_agrees_with_the_definition() -> None:
    real, fake = normal(30, 5, 1), 1.2 * normal(20, 5, 2) + 0.3
    value, influence = kernel_distance(real, fake)
    assert value == pytest.approx(naive_kernel_distance(real.numpy(), fake.numpy()), rel=1e-10)
    without = [kernel_distance(real, torch.cat([fake[:i], fake[i + 1 :]]))[0] for i in range(20)]
    jackknife = 19 * (np.mean(without) - np.array(without))  # what leaving a picture out says of it
    assert influence == pytest.approx(jackknife, rel=0.2, abs=0.2 * np.abs(jackknife).max())
    with pytest.raises(UsageError, match="at least 2 images"):
        kernel_distance(real, fake[:1])


def test_the_kernel_distance_of_real_pictures_is_zero_on_average_at_any_number() -> None:
    real = normal(400, 6, 100)
    for count in (20, 80):
        found = [kernel_distance(real, normal(count, 6, seed))[0] for seed in range(60)]
        assert abs(np.mean(found)) < 3 * np.std(found) / 60**0.5 + 0.01


def test_nearest_distances_agree_with_cdist_in_any_block_size() -> None:
    queries, references = normal(50, 6, 1), normal(80, 6, 2)
    expected = torch.cdist(queries, references).amin(dim=1).float()
    torch.testing.assert_close(nearest_distances(queries, references, block_size=9), expected, rtol=1e-4, atol=1e-4)


def test_copy_ratio_is_nought_for_copies_and_one_for_new_pictures() -> None:
    train, heldout = normal(500, 8, 1), normal(200, 8, 2)
    assert copy_ratio(train[:200], train, heldout) < 0.01
    assert copy_ratio(normal(200, 8, 3), train, heldout) == pytest.approx(1.0, abs=0.15)


def test_the_prepared_frechet_distance_is_the_same_as_torchmetrics() -> None:
    real, fake = normal(300, 16), 1.3 * normal(200, 16, seed=1) + 0.2
    assert FrechetReference(real).distance(fake) == pytest.approx(frechet_distance(real, fake), rel=1e-9)


def test_a_resample_by_weights_is_the_distance_of_the_repeated_pictures() -> None:
    real, fake = normal(300, 8), normal(50, 8, seed=1)
    weights = torch.from_numpy(np.random.default_rng(0).multinomial(50, [0.02] * 50, size=3)).double()
    repeated = [fake.repeat_interleave(row.long(), dim=0) for row in weights]
    expected = [frechet_distance(real, each) for each in repeated]
    assert FrechetReference(real).distances(fake, weights).tolist() == pytest.approx(expected, rel=1e-8)


def test_fewer_pictures_than_features_have_a_distance() -> None:
    assert FrechetReference(normal(300, 32)).distance(normal(10, 32, seed=1)) > 0


@pytest.mark.parametrize(
    ("fake", "error"), [(torch.full((5, 4), torch.nan), NonFiniteError), (torch.ones(1, 4), UsageError)]
)
def test_the_prepared_distance_refuses_what_has_none(fake: torch.Tensor, error: type[Exception]) -> None:
    with pytest.raises(error):
        FrechetReference(normal(20, 4)).distance(fake)
