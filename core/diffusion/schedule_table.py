"""The quantities of a noise schedule as columns over its timesteps, and which of them a sampler visits."""

from __future__ import annotations

import numpy as np

from core.diffusion.samplers import build_sampler
from core.diffusion.schedule import NoiseSchedule

MIN_SNR_GAMMA = 5.0


def schedule_table(schedule: NoiseSchedule) -> dict[str, np.ndarray]:
    """Every quantity of `core.diffusion.quantities` over t, (T,) float64; NaN where undefined, inf where infinite.

    The weights are those of the squared error of the clean latents that each way of training implies.
    """
    signal, noise = schedule.signal_scale.double().numpy(), schedule.noise_scale.double().numpy()
    alpha_bar = signal**2 / (signal**2 + noise**2)
    nothing = np.full(len(signal), np.nan)
    beta = nothing if schedule.betas is None else schedule.betas.double().numpy()
    before = np.concatenate([[1.0], alpha_bar[:-1]])
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = (signal / noise) ** 2
        log_snr = np.log(snr)
        posterior = (1.0 - before) / (1.0 - alpha_bar) * beta
        return {
            "alpha_bar": alpha_bar,
            "beta": beta,
            "signal_scale": signal,
            "noise_scale": noise,
            "posterior_variance": posterior,
            "snr": snr,
            "log_snr": log_snr,
            "sigma": noise / signal,
            "log_snr_density": _density(log_snr),
            "weight_epsilon": snr,
            "weight_v": snr + 1.0,
            "weight_flow": (1.0 + np.sqrt(snr)) ** 2,
            "weight_min_snr": np.minimum(snr, MIN_SNR_GAMMA),
            "weight_truncated": np.maximum(snr, 1.0),
        }


def visited(schedule: NoiseSchedule, sampler: str, num_inference_steps: int) -> np.ndarray:
    """The timesteps that a sampler of the factory visits, first to last. Raises UsageError for a refused pair."""
    steps = build_sampler(sampler, schedule, num_inference_steps).timesteps.double().numpy()
    return np.asarray(steps)


def _density(log_snr: np.ndarray) -> np.ndarray:
    """Density of log-SNR (T,) when t is uniform; NaN where log-SNR is infinite."""
    known = np.isfinite(log_snr)
    density = np.full(len(log_snr), np.nan)
    density[known] = 1.0 / (len(log_snr) * np.abs(np.gradient(log_snr[known])))
    return density
