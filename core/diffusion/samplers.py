"""The one factory of diffusers samplers.

Every sampler is built from the training schedule's own betas with every setting spelled out, because
`from_config` drops defaults and silently changes the noise schedule; alpha_bar is then checked to be training's.
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import torch

from core.config.compatibility import pair_problem
from core.diffusers_parts import diffusers
from core.diffusion.sampler_table import SAMPLERS, Sampler
from core.diffusion.schedule import NoiseSchedule
from core.diffusion.stock import StockScheduler
from core.errors import UsageError, quoted

ALPHA_BAR_TOLERANCE = 1e-6
_COUNT_IN_SIGMA = tuple(getattr(diffusers, row.class_name) for row in SAMPLERS.values() if row.counts_in_sigma)


def build_sampler(
    name: str,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    timestep_spacing: str = "trailing",
    whole_timesteps: bool = False,
) -> Any:
    """A diffusers scheduler whose timesteps are set (no clipping), on the CPU.

    timestep_spacing: anything but trailing is for the self-test, and VP schedules only. whole_timesteps: with flow
    matching, the timesteps that diffusers itself tells a network, σ·T cut to whole numbers, instead of exact ones.
    The sampler that a schedule of somebody else came with is built as its file says, spacing and timesteps included.
    Raises UsageError, with the reason, for a pair that is known to be wrong.
    """
    if schedule.stock is not None and name == schedule.stock.sampler:
        return build_stock(schedule.stock, num_inference_steps)
    problem = pair_problem(
        schedule=schedule.name,
        prediction_type=schedule.prediction_type,
        rescale_betas_zero_snr=schedule.ends_in_noise,
        sampler=name,
        num_inference_steps=num_inference_steps,
        num_train_timesteps=schedule.num_train_timesteps,
    )
    if problem:
        raise UsageError(problem)
    sampler = build_unchecked(
        name, schedule, num_inference_steps, timestep_spacing=timestep_spacing, whole_timesteps=whole_timesteps
    )
    visited = sampler.timesteps.unique()
    if len(visited) != num_inference_steps or float(visited[0]) < 0:
        raise UsageError(
            f"sampling.num_inference_steps: '{name}' visits {len(visited)} timesteps down to {float(visited[0]):g} in "
            f"{num_inference_steps} steps",
            "use fewer steps",
        )
    return sampler


def build_unchecked(
    name: str,
    schedule: NoiseSchedule,
    num_inference_steps: int,
    *,
    timestep_spacing: str = "trailing",
    whole_timesteps: bool = False,
) -> Any:
    """As `build_sampler`, of a pair that may be refused: the self-test shows that each refusal is right.

    Raises UsageError for what cannot be built at all.
    """
    row = SAMPLERS[name]
    if not schedule.is_flow:
        return _variance_preserving(row, schedule, num_inference_steps, timestep_spacing)
    if timestep_spacing != "trailing":
        raise UsageError(f"timestep_spacing: '{timestep_spacing}' does not exist for flow matching", "use trailing")
    if row.flow is None:
        raise UsageError(f"sampling.sampler: diffusers has no '{name}' for flow matching")
    count = schedule.num_train_timesteps
    sampler = getattr(diffusers, row.flow.class_name)(num_train_timesteps=count, **row.flow.options)
    if row.flow.sigmas_given:  # trailing spacing: without them the last step is spent between σ = 1/T and 0
        sampler.set_timesteps(sigmas=np.linspace(1.0, 1.0 / num_inference_steps, num_inference_steps))
    else:
        sampler.set_timesteps(num_inference_steps)
    if row.flow.cuts_timesteps and not whole_timesteps:
        sampler.timesteps = sampler.sigmas[:-1] * count
    return sampler


def build_stock(stock: StockScheduler, num_inference_steps: int | None = None) -> Any:
    """The scheduler as its file describes it, missing keys as diffusers fills them. Its timesteps are set if given.

    Raises UsageError for what diffusers cannot build, or not with so many steps.
    """
    kind = getattr(diffusers, stock.class_name)
    known = inspect.signature(kind.__init__).parameters
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scheduler = kind(**{key: value for key, value in stock.options.items() if key in known})
            if num_inference_steps is not None:
                scheduler.set_timesteps(num_inference_steps)
    except (ValueError, TypeError, NotImplementedError, ArithmeticError, IndexError, ImportError) as error:
        raise UsageError(f"{stock.class_name}: diffusers cannot use it so: {quoted(error, 160)}") from None
    if num_inference_steps is not None and float(scheduler.timesteps.min()) < 0:
        raise UsageError(
            f"sampling.num_inference_steps: {stock.class_name} ends below timestep 0 in {num_inference_steps} steps",
            "use fewer steps",
        )
    return scheduler


def is_stock(schedule: NoiseSchedule, sampler: Any) -> bool:
    """True for the scheduler that a schedule of somebody else came with."""
    return schedule.stock is not None and type(sampler).__name__ == schedule.stock.class_name


def row_of(sampler: Any) -> Sampler | None:
    """The row that a scheduler of diffusers was built from, by its class and algorithm; None for another one."""
    for row in SAMPLERS.values():
        classes = (row.class_name, row.flow.class_name if row.flow else row.class_name)
        algorithm = row.options.get("algorithm_type")
        if type(sampler).__name__ in classes and algorithm in (None, sampler.config.get("algorithm_type")):
            return row
    return None


def _variance_preserving(row: Sampler, schedule: NoiseSchedule, num_inference_steps: int, timestep_spacing: str) -> Any:
    assert schedule.betas is not None
    sampler = getattr(diffusers, row.class_name)(
        num_train_timesteps=schedule.num_train_timesteps,
        trained_betas=schedule.betas.tolist(),
        prediction_type=schedule.prediction_type,
        timestep_spacing=timestep_spacing,
        **row.options,
        **((row.zero_snr or {}) if schedule.ends_in_noise else {}),
    )
    difference = (sampler.alphas_cumprod - schedule.alphas_cumprod).abs().max().item()
    if difference > ALPHA_BAR_TOLERANCE:
        raise RuntimeError(f"{row.class_name}: alpha_bar differs from training's by {difference:.2e}")
    sampler.set_timesteps(num_inference_steps)
    return sampler


def scales_at(schedule: NoiseSchedule, sampler: Any, index: int) -> tuple[float, float]:
    """(signal_scale, noise_scale) of the latents that enter step `index` of a built sampler."""
    if schedule.is_flow:
        sigma = float(sampler.sigmas[index])
        return 1.0 - sigma, sigma
    t = round(float(sampler.timesteps[index]))
    return float(schedule.signal_scale[t]), float(schedule.noise_scale[t])


def initial_latents(schedule: NoiseSchedule, sampler: Any, noise: torch.Tensor) -> torch.Tensor:
    """Where sampling starts: unit noise (N, c, h, w) in the sampler's own scale.

    Latents have variance 1 at every timestep of training. With trailing spacing diffusers starts samplers that count in
    σ with variance σ² instead of σ² + 1, which is too little where the schedule leaks signal. A scheduler that the
    schedule came with starts as diffusers starts it.
    """
    if is_stock(schedule, sampler):
        return noise * getattr(sampler, "init_noise_sigma", 1.0)
    if isinstance(sampler, _COUNT_IN_SIGMA):
        return noise * (sampler.sigmas[0] ** 2 + 1) ** 0.5
    return noise if schedule.is_flow else noise * sampler.init_noise_sigma


def network_input(schedule: NoiseSchedule, sampler: Any, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    """The sampler's state in the scale that the U-Net was trained on (N, c, h, w)."""
    if is_stock(schedule, sampler) and hasattr(sampler, "scale_model_input"):
        return sampler.scale_model_input(latents, timestep)  # type: ignore[no-any-return]
    return latents if schedule.is_flow else sampler.scale_model_input(latents, timestep)


def sampler_state(schedule: NoiseSchedule, sampler: Any, noisy_latents: torch.Tensor, index: int) -> torch.Tensor:
    """The inverse of `network_input` at step `index`: latents in the scale of training → the sampler's own state."""
    if schedule.is_flow or not isinstance(sampler, _COUNT_IN_SIGMA):
        return noisy_latents
    return noisy_latents * (sampler.sigmas[index] ** 2 + 1) ** 0.5


def begin_at(sampler: Any, index: int) -> None:
    """Let a built sampler take its first step at timestep `index`: those that count steps must be told."""
    if hasattr(sampler, "set_begin_index"):
        sampler.set_begin_index(index)
