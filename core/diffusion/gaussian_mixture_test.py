"""Samplers judged against a denoiser that is a formula: no training, no network, the truth known to the last digit.

Data: a mixture of Gaussians in one dimension, x_0 ~ Σ w_k N(m_k, s_k²), standardised as latents are. Noised it stays
a mixture, x_t ~ Σ w_k N(a·m_k, a²·s_k² + b²) with a = signal_scale and b = noise_scale, so E[x_0 | x_t] is exact.
In one dimension the probability flow keeps quantiles, so its exact solution is F_0⁻¹(F_t(x_t)).
Source: arXiv 2011.13456 (probability flow, section 4.3), 2206.00364 (denoiser of a known density, appendix B.3).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from core.diffusion.samplers import build_sampler, initial_latents, network_input, row_of
from core.diffusion.schedule import NoiseSchedule

NUM_PATHS = 2048
NUM_RANDOM_PATHS = 1 << 16
DIVERGED = 50.0  # in deviations of the data


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Gaussians in one dimension. Functions take float64 tensors of any shape; the default scales are clean data."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]

    def _parts(self, signal: float, noise: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        weights, means, deviations = (
            torch.tensor(values, dtype=torch.float64) for values in (self.weights, self.means, self.deviations)
        )
        return weights, signal * means, (signal**2 * deviations**2 + noise**2).sqrt()

    def density(self, x: torch.Tensor, signal: float = 1.0, noise: float = 0.0) -> torch.Tensor:
        """p(x_t)."""
        weights, means, deviations = self._parts(signal, noise)
        z = (x[..., None] - means) / deviations
        return (weights * torch.exp(-0.5 * z**2) / (deviations * math.sqrt(2 * math.pi))).sum(-1)

    def cdf(self, x: torch.Tensor, signal: float = 1.0, noise: float = 0.0) -> torch.Tensor:
        """F_t(x)."""
        weights, means, deviations = self._parts(signal, noise)
        return (weights * torch.special.ndtr((x[..., None] - means) / deviations)).sum(-1)

    def quantile(self, share: torch.Tensor, signal: float = 1.0, noise: float = 0.0) -> torch.Tensor:
        """F_t⁻¹(share) by bisection, to the last digits of float64."""
        _, means, deviations = self._parts(signal, noise)
        low = torch.full_like(share, float((means - 40 * deviations).min()))
        high = torch.full_like(share, float((means + 40 * deviations).max()))
        for _ in range(64):
            middle = 0.5 * (low + high)
            below = self.cdf(middle, signal, noise) < share
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return 0.5 * (low + high)

    def denoised(self, x: torch.Tensor, signal: float, noise: float) -> torch.Tensor:
        """E[x_0 | x_t = x]."""
        weights, means, deviations = self._parts(signal, noise)
        centred = x[..., None] - means
        share = torch.softmax(torch.log(weights / deviations) - 0.5 * (centred / deviations) ** 2, dim=-1)
        clean_means = torch.tensor(self.means, dtype=torch.float64)
        clean_variances = torch.tensor(self.deviations, dtype=torch.float64) ** 2
        return (share * (clean_means + signal * clean_variances / deviations**2 * centred)).sum(-1)


def standardised(weights: Sequence[float], means: Sequence[float], deviations: Sequence[float]) -> Mixture:
    """The mixture of these Gaussians, shifted and scaled to mean 0 and variance 1."""
    total = sum(weights)
    shares = [weight / total for weight in weights]
    centre = sum(share * mean for share, mean in zip(shares, means, strict=True))
    variance = sum(s * (d**2 + (m - centre) ** 2) for s, m, d in zip(shares, means, deviations, strict=True))
    scale = math.sqrt(variance)
    return Mixture(
        weights=tuple(shares),
        means=tuple((mean - centre) / scale for mean in means),
        deviations=tuple(deviation / scale for deviation in deviations),
    )


MIXTURE = standardised((0.5, 0.3, 0.2), (-1.0, 0.5, 2.0), (0.3, 0.25, 0.4))


@dataclass(frozen=True, kw_only=True)
class SolverError:
    """How far a sampler with a perfect network ends from the truth, in deviations of the data; inf when it diverges.

    wasserstein: W1 between the samples and the true distribution. wasserstein_floor: what a perfect solver shows, by
    starting from N(0, 1) and, for samplers that draw noise, by the number of samples. pathwise: mean distance from the
    exact probability flow through the same start; None for samplers that draw noise.
    """

    num_inference_steps: int
    num_evaluations: int
    wasserstein: float
    wasserstein_floor: float
    pathwise: float | None


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where sampling began, was half-way, and ended (N,), float64, in the scale of training.

    start, middle: with the (signal_scale, noise_scale) there. middle is at the last timestep visited that is not below
    T/2 - 1, as the network sees it.
    """

    start: torch.Tensor
    start_scales: tuple[float, float]
    middle: torch.Tensor
    middle_scales: tuple[float, float]
    end: torch.Tensor
    num_evaluations: int
    drew_noise: bool


def told_scales(schedule: NoiseSchedule, timestep: float) -> tuple[float, float]:
    """(signal_scale, noise_scale) that a network believes in when it is told this timestep, whole or not."""
    if schedule.is_flow:
        sigma = timestep / schedule.num_train_timesteps
        return 1.0 - sigma, sigma
    low = min(max(math.floor(timestep), 0), schedule.num_train_timesteps - 1)
    signal, noise = float(schedule.signal_scale[low]), float(schedule.noise_scale[low])
    part = timestep - low
    if part <= 0:
        return signal, noise
    above = float(schedule.noise_scale[low + 1]) / float(schedule.signal_scale[low + 1])
    sigma = (1 - part) * noise / signal + part * above  # linear in σ between timesteps, as diffusers interpolates
    return 1 / math.sqrt(1 + sigma**2), sigma / math.sqrt(1 + sigma**2)


def perfect_output(
    prediction_type: str, noisy: torch.Tensor, signal: float, noise: float, mixture: Mixture = MIXTURE
) -> torch.Tensor:
    """What a perfect network answers for `noisy`, any shape, float64."""
    clean = mixture.denoised(noisy, signal, noise)
    if prediction_type == "sample":
        return clean
    epsilon = (noisy - signal * clean) / noise
    if prediction_type == "epsilon":
        return epsilon
    if prediction_type == "v_prediction":
        return signal * epsilon - noise * clean
    return epsilon - clean


def strata(count: int) -> torch.Tensor:
    """The middles (N,) of `count` equally likely shares; N(0, 1) or any distribution follows by its quantiles."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


@torch.no_grad()
def solve(
    sampler: str | Any,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    timestep_spacing: str = "trailing",
    mixture: Mixture = MIXTURE,
    num_samples: int | None = None,
    seed: int = 0,
) -> Paths:
    """Sample the mixture with a perfect network, from stratified N(0, 1).

    sampler: a name for the factory, or any diffusers scheduler whose timesteps are set; the network always answers as
    `schedule` was trained. float64, but for the tables of diffusers, and the state of its Euler and DPM++ samplers,
    which are float32. num_samples: default 2,048, or 65,536 when the sampler draws noise.
    """
    built = (
        build_sampler(sampler, schedule, num_inference_steps, timestep_spacing=timestep_spacing)
        if isinstance(sampler, str)
        else sampler
    )
    source = torch.Generator().manual_seed(seed)
    untouched = source.get_state()
    extra = {"generator": source} if "generator" in inspect.signature(built.step).parameters else {}
    row = row_of(built)
    count = num_samples or (NUM_RANDOM_PATHS if row and row.stochastic else NUM_PATHS)
    latents = initial_latents(schedule, built, torch.special.ndtri(strata(count)).view(-1, 1, 1, 1))
    start = middle = latents
    start_scales = middle_scales = (0.0, 1.0)
    for index, timestep in enumerate(built.timesteps):
        signal, noise = told_scales(schedule, float(timestep))
        noisy = network_input(schedule, built, latents, timestep).double()
        if index == 0:
            start, start_scales = noisy, (signal, noise)
        if float(timestep) >= schedule.num_train_timesteps / 2 - 1:
            middle, middle_scales = noisy, (signal, noise)
        output = perfect_output(schedule.prediction_type, noisy, signal, noise, mixture)
        latents = built.step(output, timestep, latents, **extra).prev_sample
    return Paths(
        start=start.flatten(),
        start_scales=start_scales,
        middle=middle.flatten(),
        middle_scales=middle_scales,
        end=latents.double().flatten(),
        num_evaluations=len(built.timesteps),
        drew_noise=not torch.equal(source.get_state(), untouched),
    )


def solver_error(
    sampler: str | Any,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    timestep_spacing: str = "trailing",
    mixture: Mixture = MIXTURE,
    num_samples: int | None = None,
    seed: int = 0,
) -> SolverError:
    """The error of one sampler on one schedule; the arguments are those of `solve`."""
    paths = solve(
        sampler,
        schedule,
        num_inference_steps,
        timestep_spacing=timestep_spacing,
        mixture=mixture,
        num_samples=num_samples,
        seed=seed,
    )
    exact = mixture.quantile(mixture.cdf(paths.start, *paths.start_scales))
    truth = mixture.quantile(strata(len(exact)))
    floor = float((exact.sort().values - truth).abs().mean())
    if paths.drew_noise:
        floor += sampling_floor(len(exact), mixture)
    diverged = not bool(paths.end.isfinite().all()) or float(paths.end.abs().mean()) > DIVERGED
    return SolverError(
        num_inference_steps=num_inference_steps,
        num_evaluations=paths.num_evaluations,
        wasserstein=math.inf if diverged else float((paths.end.sort().values - truth).abs().mean()),
        wasserstein_floor=floor,
        pathwise=None if paths.drew_noise else math.inf if diverged else float((paths.end - exact).abs().mean()),
    )


def sampling_floor(num_samples: int, mixture: Mixture = MIXTURE) -> float:
    """Expected W1 between `num_samples` true samples and the truth: √(2/πN) ∫ √(F(1 - F)) dx."""
    x = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    share = mixture.cdf(x)
    return float(torch.trapezoid((share * (1 - share)).sqrt(), x)) * math.sqrt(2 / (math.pi * num_samples))
