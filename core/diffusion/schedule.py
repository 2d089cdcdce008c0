"""The noise schedule as a table over timesteps: how much signal and how much noise, and what follows from it.

For every timestep index t in [0, T):  noisy_latents = signal_scale[t] · latents + noise_scale[t] · noise.
Variance-preserving schedules come from diffusers' betas (signal_scale = √alpha_bar, noise_scale = √(1 - alpha_bar),
arXiv 2006.11239 eq. 4); flow matching is the straight path (signal_scale = 1 - σ, noise_scale = σ, arXiv 2209.03003).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from core.config.compatibility import pair_problem
from core.config.schema import DiffusionSettings
from core.diffusers_parts import DDPMScheduler
from core.diffusion.stock import StockScheduler
from core.errors import ConfigError
from core.rules import NEWEST, check

_DIFFUSERS_NAMES = {
    "linear": "linear",
    "scaled_linear": "scaled_linear",
    "cosine": "squaredcos_cap_v2",
    "sigmoid": "sigmoid",
}


@dataclass(frozen=True, kw_only=True)
class NoiseSchedule:
    """One schedule and prediction type. All tables have shape (T,), float32, on one device.

    stock: the scheduler that a folder of somebody else came with; the sampler of its name is built as it says.
    """

    name: str
    prediction_type: str
    betas: torch.Tensor | None
    signal_scale: torch.Tensor
    noise_scale: torch.Tensor
    timesteps: torch.Tensor
    min_snr_gamma: float | None = None
    weight_rule: int = NEWEST.loss_weight
    stock: StockScheduler | None = None

    @property
    def num_train_timesteps(self) -> int:
        """T."""
        return len(self.signal_scale)

    @property
    def is_flow(self) -> bool:
        """True for flow matching."""
        return self.prediction_type == "flow"

    @property
    def ends_in_noise(self) -> bool:
        """True where a schedule that keeps the variance has no signal left at its last timestep (arXiv 2305.08891)."""
        return bool(self.signal_scale[-1] == 0) and not self.is_flow

    @property
    def alphas_cumprod(self) -> torch.Tensor:
        """alpha_bar (T,): the share of signal variance, signal² / (signal² + noise²)."""
        return self.signal_scale**2 / (self.signal_scale**2 + self.noise_scale**2)

    @property
    def snr(self) -> torch.Tensor:
        """signal² / noise² (T,)."""
        return (self.signal_scale / self.noise_scale) ** 2

    def to(self, device: torch.device | str) -> NoiseSchedule:
        """The same schedule with its tables on `device`."""
        return NoiseSchedule(
            name=self.name,
            prediction_type=self.prediction_type,
            betas=None if self.betas is None else self.betas.to(device),
            signal_scale=self.signal_scale.to(device),
            noise_scale=self.noise_scale.to(device),
            timesteps=self.timesteps.to(device),
            min_snr_gamma=self.min_snr_gamma,
            weight_rule=self.weight_rule,
            stock=self.stock,
        )

    def add_noise(self, latents: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """noisy_latents (N, c, h, w) at timestep indices t (N,)."""
        return _column(self.signal_scale, t) * latents + _column(self.noise_scale, t) * noise

    def target(self, latents: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """What the U-Net should answer (N, c, h, w); v: arXiv 2202.00512, flow: noise - latents."""
        if self.prediction_type == "epsilon":
            return noise
        if self.prediction_type == "sample":
            return latents
        if self.prediction_type == "v_prediction":
            return _column(self.signal_scale, t) * noise - _column(self.noise_scale, t) * latents
        return noise - latents

    def loss_weight(self, t: torch.Tensor) -> torch.Tensor:
        """Weight of the squared error at t (N,): 1, or min-SNR-γ (arXiv 2303.09556, section 3.4).

        For v and sample prediction the paper's is 0 where no signal is left, so the first step of sampling would never
        be learned. Version 2 of the rule "loss_weight" takes SNR + 1 in place of the SNR, as the examples of diffusers
        do for v; there the weight is 1 for v.
        """
        if self.min_snr_gamma is None:
            return torch.ones_like(self.signal_scale[t])
        snr = self.snr[t]
        if self.weight_rule > 1 and self.prediction_type != "epsilon":
            clipped = (snr + 1).clamp(max=self.min_snr_gamma)
        else:
            clipped = snr.clamp(max=self.min_snr_gamma)
        if self.prediction_type == "epsilon":
            return clipped / snr
        if self.prediction_type == "v_prediction":
            return clipped / (snr + 1)
        return clipped


def build_schedule(settings: DiffusionSettings, *, weight_rule: int = NEWEST.loss_weight) -> NoiseSchedule:
    """The schedule these settings describe, on the CPU.

    weight_rule: version of the rule "loss_weight", see core.rules. Raises ConfigError for an impossible combination,
    LabError for another version.
    """
    check("loss_weight", weight_rule)
    problem = pair_problem(
        schedule=settings.schedule,
        prediction_type=settings.prediction_type,
        rescale_betas_zero_snr=settings.rescale_betas_zero_snr,
        min_snr_gamma=settings.min_snr_gamma,
        beta_start=settings.beta_start,
        beta_end=settings.beta_end,
    )
    if problem:
        raise ConfigError(problem)
    count = settings.num_train_timesteps
    if settings.schedule == "flow":
        return _straight_path(count)
    betas = DDPMScheduler(
        num_train_timesteps=count,
        beta_schedule=_DIFFUSERS_NAMES[settings.schedule],
        beta_start=settings.beta_start,
        beta_end=settings.beta_end,
        rescale_betas_zero_snr=settings.rescale_betas_zero_snr,
    ).betas
    found = _variance_preserving(betas, settings.schedule, settings.prediction_type)
    return replace(found, min_snr_gamma=settings.min_snr_gamma, weight_rule=weight_rule)


def stock_schedule(scheduler: Any, stock: StockScheduler, name: str) -> NoiseSchedule:
    """The schedule of a built diffusers scheduler. name: of the lab's schedule that is most like it."""
    if stock.is_flow:
        return replace(_straight_path(scheduler.config.num_train_timesteps), stock=stock)
    return replace(_variance_preserving(scheduler.betas, name, stock.prediction_type), stock=stock)


def _straight_path(count: int) -> NoiseSchedule:
    sigma = torch.arange(1, count + 1, dtype=torch.float64) / count
    return NoiseSchedule(
        name="flow",
        prediction_type="flow",
        betas=None,
        signal_scale=(1 - sigma).float(),
        noise_scale=sigma.float(),
        timesteps=(sigma * count).float(),
    )


def _variance_preserving(betas: torch.Tensor, name: str, prediction_type: str) -> NoiseSchedule:
    alpha_bar = torch.cumprod(1.0 - betas, dim=0)  # float32 on purpose: the very numbers that diffusers samples with
    return NoiseSchedule(
        name=name,
        prediction_type=prediction_type,
        betas=betas,
        signal_scale=alpha_bar.sqrt(),
        noise_scale=(1.0 - alpha_bar).sqrt(),
        timesteps=torch.arange(len(betas), dtype=torch.float32),
    )


def to_pred_original(
    prediction_type: str,
    model_output: torch.Tensor,
    noisy_latents: torch.Tensor,
    signal_scale: torch.Tensor | float,
    noise_scale: torch.Tensor | float,
) -> torch.Tensor:
    """The clean latents that a model output implies, all (N, c, h, w). With epsilon, signal_scale must not be 0."""
    if prediction_type == "epsilon":
        return (noisy_latents - noise_scale * model_output) / signal_scale
    if prediction_type == "sample":
        return model_output
    if prediction_type == "v_prediction":
        return signal_scale * noisy_latents - noise_scale * model_output
    # flow: x_t = (1-σ) x_0 + σ ε and output = ε - x_0, so x_0 = x_t - σ · output
    return noisy_latents - noise_scale * model_output


def to_pred_epsilon(
    pred_original_sample: torch.Tensor,
    noisy_latents: torch.Tensor,
    signal_scale: torch.Tensor | float,
    noise_scale: torch.Tensor | float,
) -> torch.Tensor:
    """The noise that belongs to a clean prediction, (N, c, h, w). noise_scale must not be 0."""
    return (noisy_latents - signal_scale * pred_original_sample) / noise_scale


def _column(table: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """table[t] shaped (N, 1, 1, 1)."""
    return table[t].view(-1, 1, 1, 1)
