"""What is measured on a decoder, as records that cross to the server. Never imports torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Survival:
    """Over P noise levels, clean first (t = -1). Every tuple has length P.

    psnr: mean over pictures in dB against the real picture; accuracy: share the judge sees as their class, empty when
    there was no judge. num_pictures N, num_classes K.
    """

    schedule: str
    num_train_timesteps: int
    num_pictures: int
    num_classes: int
    t: tuple[int, ...]
    signal_scale: tuple[float, ...]
    noise_scale: tuple[float, ...]
    psnr: tuple[float, ...]
    psnr_error: tuple[float, ...]
    accuracy: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Energy in B radial bins, mean over pictures, summed over channels.

    frequency (B,): middle of each bin, 1 is the highest frequency along an axis (corners reach √2). energy (B,) sums
    to the mean energy of a picture (Parseval: the transform is orthonormal). power (B,): energy a coefficient and
    channel, NaN where a bin holds none. count (B,): coefficients in each. constant: energy of the (0, 0) ones.
    """

    frequency: np.ndarray
    energy: np.ndarray
    power: np.ndarray
    count: np.ndarray
    constant: float

    @property
    def high_share(self) -> float:
        """Share of the energy above half the highest frequency, the constant left out."""
        total = float(self.energy.sum()) - self.constant
        return float(self.energy[self.frequency > 0.5].sum()) / total if total > 0 else 0.0

    @property
    def flat_share(self) -> float:
        """What `high_share` is for white noise: the share of the coefficients."""
        return float(self.count[self.frequency > 0.5].sum()) / max(float(self.count.sum()) - 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Equivariance:
    """One transform: error of encode(T x) against T encode(x), as a share of the latents' norm; mean and standard
    error over pictures. unrelated: the same between latents of different pictures, what no relation at all gives."""

    name: str
    error: float
    standard_error: float
    unrelated: float


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """norms (c, h, w): root mean square over pictures of |d picture / d latent|, in grey levels (root of the sum over
    pixels) a standard deviation; NaN where a site was left out. num_pictures, stride: what it was measured on."""

    norms: np.ndarray
    num_pictures: int
    stride: int

    @property
    def by_channel(self) -> np.ndarray:
        """(c,): root mean square over sites."""
        return np.sqrt(np.nanmean(np.square(self.norms), axis=(1, 2)))

    @property
    def by_site(self) -> np.ndarray:
        """(h, w): root of the sum of squares over channels; NaN where left out."""
        return np.sqrt(np.square(self.norms).sum(axis=0))


@dataclass(frozen=True, kw_only=True)
class NoisyStrip:
    """One picture a class at each noise level of a survival: (P, K, H, W, C) uint8, with its timesteps and labels."""

    pictures: np.ndarray
    t: tuple[int, ...]
    log_snr: tuple[float, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Survived:
    """A survival and what it says. alone: the last t that the decoder masters by itself; lost: the first t at which the
    class is gone; None for never. chance: the accuracy of guessing."""

    survival: Survival
    strip: NoisyStrip
    words: str
    alone: int | None
    lost: int | None
    chance: float
    class_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Traits:
    """Spectra of latents and pictures, equivariance and sensitivity."""

    latents: Spectrum
    pictures: Spectrum
    equivariance: list[Equivariance]
    sensitivity: Sensitivity
    downsample_factor: int
    num_pictures: int
