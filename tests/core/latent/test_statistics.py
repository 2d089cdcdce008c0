"""Every statistic of latents against a direct computation on a small known case."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from core.latent.cache import measure_scaling
from core.latent.codec import split_moments
from core.latent.inspection import statistics
from core.latent.inspection.statistics import EDGES, channel_statistics, scaling_spread


@pytest.fixture
def moments() -> np.ndarray:
    """30 pictures of 3 channels of 2 x 4, each channel with another mean and deviation; the last one says nothing."""
    source = np.random.default_rng(0)
    mean = source.normal(size=(30, 3, 2, 4)) * np.array([2.0, 0.5, 0.0])[:, None, None]
    mean += np.array([1.0, -3.0, 0.0])[:, None, None]
    log_variance = source.normal(size=mean.shape) * 0.3 + np.array([-2.0, -4.0, 0.0])[:, None, None]
    return np.concatenate([mean, log_variance], axis=1).astype(np.float32)


@pytest.fixture
def posterior(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return statistics.split(moments)


def test_mean_and_deviation_are_split_as_the_codec_does(moments: np.ndarray) -> None:
    extreme = moments.copy()
    extreme[0, 3:] = [[[-99.0] * 4] * 2, [[99.0] * 4] * 2, [[0.0] * 4] * 2]
    mean, std = split_moments(torch.from_numpy(extreme))
    found = statistics.split(extreme)
    np.testing.assert_array_equal(found[0], mean.numpy())
    np.testing.assert_allclose(found[1], std.numpy(), rtol=1e-5)


def test_the_scaling_is_that_of_the_cache(moments: np.ndarray, posterior: tuple[np.ndarray, np.ndarray]) -> None:
    shift, scale = statistics.scaling(*posterior)
    expected = measure_scaling(moments)
    np.testing.assert_allclose(shift, expected.shift, atol=1e-6)
    np.testing.assert_allclose(scale, expected.scale, rtol=1e-5)
    stats = channel_statistics(*posterior)
    np.testing.assert_allclose(stats.mean, shift, atol=1e-6)
    np.testing.assert_allclose(1 / stats.deviation, scale, rtol=1e-5)


def test_mean_deviation_skew_and_kurtosis_a_channel(posterior: tuple[np.ndarray, np.ndarray]) -> None:
    mean, std = posterior
    stats = channel_statistics(mean, std)
    for channel in range(2):
        values = [float(value) for value in mean[:, channel].ravel()]
        center = math.fsum(values) / len(values)
        moment = [math.fsum((value - center) ** power for value in values) / len(values) for power in (2, 3, 4)]
        within = math.fsum(float(value) ** 2 for value in std[:, channel].ravel()) / len(values)
        assert stats.mean[channel] == pytest.approx(center)
        assert stats.deviation_of_means[channel] == pytest.approx(math.sqrt(moment[0]))
        assert stats.posterior_deviation[channel] == pytest.approx(math.sqrt(within))
        assert stats.deviation[channel] == pytest.approx(math.sqrt(moment[0] + within))
        assert stats.skew[channel] == pytest.approx(moment[1] / moment[0] ** 1.5)
        assert stats.kurtosis[channel] == pytest.approx(moment[2] / moment[0] ** 2 - 3)


def test_a_silent_channel_has_no_skew_and_nothing_fails(posterior: tuple[np.ndarray, np.ndarray]) -> None:
    stats = channel_statistics(*posterior)
    assert stats.active[2] == 0
    assert np.isnan([stats.skew[2], stats.kurtosis[2], stats.correlation[2, 0]]).all()


def test_known_shapes_have_their_known_skew_and_kurtosis() -> None:
    two_values = np.tile(np.array([-1.0, 1.0], dtype=np.float32), 50).reshape(100, 1, 1, 1)
    exponential = -np.log(1 - (np.arange(100_000) + 0.5) / 100_000).astype(np.float32).reshape(-1, 1, 1, 1)
    ones = np.ones_like
    assert channel_statistics(two_values, ones(two_values)).kurtosis[0] == pytest.approx(-2.0)
    found = channel_statistics(exponential, ones(exponential))
    assert found.skew[0] == pytest.approx(2.0, abs=0.01)
    assert found.kurtosis[0] == pytest.approx(6.0, abs=0.1)


def test_kl_is_that_of_diffusers_and_of_one_gaussian(moments: np.ndarray) -> None:
    found = statistics.kl_per_channel(*statistics.split(moments))
    whole = DiagonalGaussianDistribution(torch.from_numpy(moments)).kl()
    assert found.sum() == pytest.approx(float(whole.mean()), rel=1e-5)
    one = statistics.kl_per_channel(np.full((4, 1, 1, 1), 1.5), np.full((4, 1, 1, 1), 0.5))
    assert one[0] == pytest.approx(0.5 * (1.5**2 + 0.25 - 1 - math.log(0.25)))
    assert statistics.kl_per_channel(np.zeros((4, 1, 2, 2)), np.ones((4, 1, 2, 2)))[0] == 0.0


def test_active_units_are_counted_one_by_one() -> None:
    mean = np.zeros((50, 1, 2, 2), dtype=np.float32)
    for place, variance in enumerate((0.0, 0.009, 0.011, 4.0)):
        mean[:, 0, place // 2, place % 2] = np.where(np.arange(50) % 2, 1, -1) * math.sqrt(variance) + 7.0
    np.testing.assert_allclose(statistics.activity(mean).ravel(), [0.0, 0.009, 0.011, 4.0], atol=1e-5)
    stats = channel_statistics(mean, np.ones_like(mean))
    assert (stats.active.tolist(), stats.units, stats.active_share) == ([2], 4, 0.5)


def test_correlation_is_pearsons(posterior: tuple[np.ndarray, np.ndarray]) -> None:
    mean = posterior[0].copy()
    mean[:, 2] = 0.3 * mean[:, 0] - mean[:, 1]
    rows = np.moveaxis(mean, 1, 0).reshape(3, -1)
    stats = channel_statistics(mean, posterior[1])
    np.testing.assert_allclose(stats.correlation, np.corrcoef(rows), atol=1e-6)


def test_rescaled_statistics_are_those_of_rescaled_latents(posterior: tuple[np.ndarray, np.ndarray]) -> None:
    mean, std = posterior
    shift, scale = np.array([1.0, -3.0, 0.5]), np.array([0.5, 2.0, 3.0])
    direct = channel_statistics((mean - shift[:, None, None]) * scale[:, None, None], std * scale[:, None, None])
    found = channel_statistics(mean, std).rescaled(shift, scale)
    for name in ("mean", "deviation", "deviation_of_means", "posterior_deviation"):
        np.testing.assert_allclose(getattr(found, name), getattr(direct, name), atol=1e-5)
    for name in ("skew", "kurtosis"):
        np.testing.assert_allclose(getattr(found, name)[:2], getattr(direct, name)[:2], atol=1e-4)


def test_a_histogram_is_a_density_of_standardised_values() -> None:
    values = np.random.default_rng(0).normal(3.0, 7.0, size=(4000, 1, 5, 5)).astype(np.float32)
    found = statistics.histograms(values)[0]
    assert float((found * np.diff(EDGES)).sum()) == pytest.approx(1.0, abs=1e-4)
    middles = (EDGES[1:] + EDGES[:-1]) / 2
    np.testing.assert_allclose(found, np.exp(-(middles**2) / 2) / math.sqrt(2 * math.pi), atol=0.02)
    few = statistics.histograms(np.array([0.0, 0.0, 0.0, 4.0], dtype=np.float32).reshape(4, 1, 1, 1))[0]
    at = {round(float(middles[place]), 2): float(found) * 0.1 for place, found in enumerate(few) if found}
    assert list(at.values()) == pytest.approx([0.75, 0.25])


def test_the_spread_of_the_scaling_is_the_error_of_a_mean() -> None:
    source = np.random.default_rng(1)
    mean = np.broadcast_to(source.normal(5.0, 2.0, size=(400, 1, 1, 1)), (400, 1, 2, 2)).astype(np.float32)
    std = np.full_like(mean, 1e-3)
    found = scaling_spread(mean, std, resamples=2000)
    assert found.shift_error[0] == pytest.approx(1 / math.sqrt(400), rel=0.1)
    assert found.scale_error[0] == pytest.approx(1 / math.sqrt(2 * 400), rel=0.2)
    halves = [part.mean() for part in (mean[:200], mean[200:])]
    assert found.half_shift[0] == pytest.approx(abs(halves[0] - halves[1]) / mean.std(), rel=1e-3)
    again = scaling_spread(mean, std, resamples=2000)
    assert np.array_equal(found.shift_error, again.shift_error)


def test_explained_variance_is_0_for_the_mean_picture_and_1_for_a_copy() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1500, 3, 4, 1), dtype=np.uint8)
    average = np.broadcast_to(images.mean(axis=0).round().astype(np.uint8), images.shape)
    assert statistics.explained_variance(images, images) == 1.0
    assert statistics.explained_variance(images, average) == pytest.approx(0.0, abs=1e-3)
    halfway = ((images.astype(float) + average) / 2).round().astype(np.uint8)
    direct = 1 - np.square(images - halfway.astype(float)).sum() / np.square(images - images.mean(axis=0)).sum()
    assert statistics.explained_variance(images, halfway) == pytest.approx(direct, abs=1e-6)


def test_psnr_of_known_errors() -> None:
    assert float(statistics.psnr_of(255.0**2)) == 0.0
    assert float(statistics.psnr_of(255.0**2 / 1000)) == pytest.approx(30.0)
    assert float(statistics.psnr_of(0.0)) == 100.0
