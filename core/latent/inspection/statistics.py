"""What the latents of a VAE are like, in numbers: plain NumPy, each tested against a direct computation.

N pictures, c channels, h w latent pixels. A *unit* is one latent value of a picture: c · h · w of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

ACTIVE_VARIANCE = 0.01  # arXiv 1509.00519, section 5.2
RESAMPLES = 200
MOST_DB = 100.0  # of a PSNR
LOG_VARIANCE_LIMITS = (-30.0, 20.0)  # as diffusers clamps it
EDGES = np.linspace(-5.0, 5.0, 101)
_CHANNEL = (0, 2, 3)


@dataclass(frozen=True, kw_only=True)
class ChannelStatistics:
    """A value a channel, (c,) each, but correlation (c, c). All of the latents after the given shift and scale.

    mean and deviation: of posterior samples, which is what a U-Net is trained on. deviation_of_means and
    posterior_deviation: the two parts of that deviation, between pixels and pictures, and within one posterior (root
    mean square). skew and kurtosis (excess, 0 for a Gaussian): of the posterior means. kl: nats a picture against
    N(0, 1), of the raw posterior, which is what training weighs. active: units of h · w whose raw posterior mean varies
    between pictures by more than 0.01. correlation: Pearson, of the posterior means.
    """

    mean: np.ndarray
    deviation: np.ndarray
    deviation_of_means: np.ndarray
    posterior_deviation: np.ndarray
    skew: np.ndarray
    kurtosis: np.ndarray
    kl: np.ndarray
    active: np.ndarray
    units: int
    correlation: np.ndarray

    def rescaled(self, shift: np.ndarray, scale: np.ndarray) -> ChannelStatistics:
        """Of (latents - shift) · scale, both (c,). KL and activity stay those of the raw posterior."""
        return replace(
            self,
            mean=(self.mean - shift) * scale,
            deviation=self.deviation * scale,
            deviation_of_means=self.deviation_of_means * scale,
            posterior_deviation=self.posterior_deviation * scale,
        )

    @property
    def num_channels(self) -> int:
        """c."""
        return len(self.mean)

    @property
    def active_share(self) -> float:
        """Active units of all."""
        return float(self.active.sum()) / (self.units * self.num_channels)


@dataclass(frozen=True, kw_only=True)
class ScalingSpread:
    """How far shift and scale would move with other pictures, (c,) each.

    shift_error: standard deviation of the shift over bootstrap sets of pictures, in units of the channel's deviation.
    scale_error: of the scale, as a share of it. half_shift, half_scale: the same between the first and the second half.
    """

    shift_error: np.ndarray
    scale_error: np.ndarray
    half_shift: np.ndarray
    half_scale: np.ndarray


def split(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """moments (N, 2c, h, w) → posterior mean and standard deviation (N, c, h, w) float32."""
    mean, log_variance = np.split(np.asarray(moments, dtype=np.float32), 2, axis=1)
    return mean, np.exp(0.5 * np.clip(log_variance, *LOG_VARIANCE_LIMITS))


def scaling(mean: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(shift, scale) (c,) that give posterior samples zero mean and unit variance a channel (arXiv 2112.10752, G)."""
    shift = mean.mean(axis=_CHANNEL, dtype=np.float64)
    second = (np.square(mean, dtype=np.float64) + np.square(std, dtype=np.float64)).mean(axis=_CHANNEL)
    return shift, 1.0 / np.sqrt(np.maximum(second - shift**2, 1e-12))


def kl_per_channel(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """KL of the posterior from N(0, 1), nats a picture (c,): the mean over pictures of the sum over h, w.

    Source: arXiv 1312.6114, appendix B.
    """
    variance = np.square(std, dtype=np.float64)
    each = 0.5 * (np.square(mean, dtype=np.float64) + variance - 1.0 - np.log(variance))
    total: np.ndarray = each.sum(axis=(2, 3)).mean(axis=0)
    return total


def activity(mean: np.ndarray) -> np.ndarray:
    """Variance over pictures of each unit's posterior mean (c, h, w); above 0.01 the unit is active (1509.00519)."""
    return mean.var(axis=0, dtype=np.float64)


def channel_statistics(mean: np.ndarray, std: np.ndarray) -> ChannelStatistics:
    """Every statistic a channel, of the raw posterior mean and standard deviation (N, c, h, w)."""
    channels = mean.shape[1]
    center = mean.mean(axis=_CHANNEL, dtype=np.float64)
    offset = mean.astype(np.float64) - center[None, :, None, None]
    squares = np.square(offset)
    variance = squares.mean(axis=_CHANNEL)
    within = np.square(std, dtype=np.float64).mean(axis=_CHANNEL)
    safe = np.where(variance > 1e-20, variance, np.nan)
    rows = np.moveaxis(offset, 1, 0).reshape(channels, -1)
    return ChannelStatistics(
        mean=center,
        deviation=np.sqrt(variance + within),
        deviation_of_means=np.sqrt(variance),
        posterior_deviation=np.sqrt(within),
        skew=(squares * offset).mean(axis=_CHANNEL) / safe**1.5,
        kurtosis=np.square(squares).mean(axis=_CHANNEL) / safe**2 - 3.0,
        kl=kl_per_channel(mean, std),
        active=(activity(mean) > ACTIVE_VARIANCE).sum(axis=(1, 2)),
        units=int(mean.shape[2] * mean.shape[3]),
        correlation=rows @ rows.T / rows.shape[1] / np.sqrt(np.outer(safe, safe)),
    )


def scaling_spread(mean: np.ndarray, std: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> ScalingSpread:
    """How stable the measured scaling is: a bootstrap over whole pictures, whose pixels are not independent."""
    count = len(mean)
    first = mean.mean(axis=(2, 3), dtype=np.float64)
    second = (np.square(mean, dtype=np.float64) + np.square(std, dtype=np.float64)).mean(axis=(2, 3))
    _, scale = scaling(mean, std)
    source = np.random.default_rng(seed)
    weights = source.multinomial(count, np.full(count, 1.0 / count), size=resamples) / count
    shifts = weights @ first
    scales = 1.0 / np.sqrt(np.maximum(weights @ second - shifts**2, 1e-12))
    half = [scaling(part_mean, part_std) for part_mean, part_std in _halves(mean, std)]
    return ScalingSpread(
        shift_error=shifts.std(axis=0) * scale,
        scale_error=scales.std(axis=0) / scale,
        half_shift=np.abs(half[0][0] - half[1][0]) * scale,
        half_scale=np.abs(half[0][1] - half[1][1]) / scale,
    )


def histograms(mean: np.ndarray) -> np.ndarray:
    """Density of each channel's posterior means (c, BINS), standardised: over EDGES in deviations from their mean."""
    rows = []
    for channel in range(mean.shape[1]):
        values = mean[:, channel].ravel().astype(np.float64)
        deviation = max(float(values.std()), 1e-12)
        counts, _ = np.histogram((values - values.mean()) / deviation, EDGES)
        rows.append(counts / (values.size * np.diff(EDGES)))
    return np.array(rows)


def explained_variance(images: np.ndarray, reconstructions: np.ndarray) -> float:
    """Share of the pixels' variance about the mean picture that reconstructions bring back; 0 for the mean picture
    itself, 1 for a perfect copy. Pictures (N, H, W, C) uint8."""
    total = wrong = 0.0
    average = np.zeros(images.shape[1:])
    for start in range(0, len(images), 1024):
        average += images[start : start + 1024].sum(axis=0, dtype=np.float64)
    average /= len(images)
    for start in range(0, len(images), 1024):
        part = images[start : start + 1024].astype(np.float32)
        total += float(np.square(part - average.astype(np.float32)).sum(dtype=np.float64))
        wrong += float(np.square(part - reconstructions[start : start + 1024]).sum(dtype=np.float64))
    return 1.0 - wrong / total if total > 0 else 1.0


def psnr_of(squared_error: np.ndarray | float, *, reach: float = 255.0) -> np.ndarray:
    """Mean squared error → peak signal-to-noise ratio, dB; a perfect copy counts as MOST_DB."""
    with np.errstate(divide="ignore"):
        ratio = 10.0 * np.log10(reach**2 / np.asarray(squared_error, dtype=np.float64))
    return np.asarray(np.minimum(MOST_DB, ratio))


def _halves(mean: np.ndarray, std: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    middle = len(mean) // 2
    if not middle:
        return [(mean, std), (mean, std)]
    return [(mean[:middle], std[:middle]), (mean[middle:], std[middle:])]
