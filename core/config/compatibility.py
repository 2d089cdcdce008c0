"""Which pairs of schedule, prediction type and sampler are refused and why, and which are poor.

The reasons are measured: see docs/log.md and the self-test in tests/core/diffusion. Light: no torch here, so that the
form and the command line can refuse a pair at once.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path

from core.diffusion.sampler_table import FLOW_SAMPLERS, SAMPLERS, ZERO_SNR_SAMPLERS

SCHEDULES = ("linear", "scaled_linear", "cosine", "sigmoid", "flow")
SOLVER_ERRORS = Path(__file__).with_name("solver_errors.json")  # renewed by `python -m core self-test --write`
MEASURED_STEPS = (5, 10, 20, 50, 100)
POOR = 0.05  # in deviations of the data: about what a careful eye sees in a histogram
MUCH_BETTER = 2.0


def pair_problem(
    *,
    schedule: str,
    prediction_type: str,
    rescale_betas_zero_snr: bool = False,
    min_snr_gamma: float | None = None,
    beta_start: float = 1e-4,
    beta_end: float = 0.02,
    sampler: str | None = None,
    num_inference_steps: int | None = None,
    num_train_timesteps: int = 1000,
) -> str | None:
    """One sentence on why this combination cannot work, or None when it can."""
    if (schedule == "flow") != (prediction_type == "flow"):
        return (
            f"diffusion.prediction_type: '{prediction_type}' with schedule '{schedule}' is impossible; "
            "schedule 'flow' and prediction type 'flow' go together"
        )
    if schedule == "flow" and min_snr_gamma is not None:
        return "diffusion.min_snr_gamma: defined for epsilon, v_prediction and sample; leave it empty with flow"
    if rescale_betas_zero_snr and schedule == "flow":
        return "diffusion.rescale_betas_zero_snr: flow matching already ends in pure noise; set it to false"
    if rescale_betas_zero_snr and prediction_type == "epsilon":
        return (
            "diffusion.rescale_betas_zero_snr: with zero terminal SNR the noise prediction divides by zero; "
            "use prediction_type v_prediction or sample"
        )
    if schedule in ("linear", "scaled_linear", "sigmoid") and beta_start > beta_end:
        return f"diffusion.beta_start: {beta_start:g} is above beta_end {beta_end:g}"
    if sampler is None:
        return None
    row = SAMPLERS.get(sampler)
    if row is None:
        return f"sampling.sampler: '{sampler}' does not exist; use one of {', '.join(SAMPLERS)}"
    for reason in (row.refused_schedules.get(schedule), row.refused_predictions.get(prediction_type)):
        if reason:
            return f"sampling.sampler: '{sampler}' {reason}"
    if schedule == "flow" and sampler not in FLOW_SAMPLERS:
        return f"sampling.sampler: '{sampler}' cannot sample flow matching; use one of {', '.join(FLOW_SAMPLERS)}"
    if rescale_betas_zero_snr and sampler not in ZERO_SNR_SAMPLERS:
        return (
            f"sampling.sampler: '{sampler}' does not support zero terminal SNR; use one of "
            f"{', '.join(ZERO_SNR_SAMPLERS)}"
        )
    if num_inference_steps is not None and num_inference_steps > num_train_timesteps:
        return (
            f"sampling.num_inference_steps: {num_inference_steps} steps do not fit into "
            f"{num_train_timesteps} training timesteps"
        )
    fewest, what_fewer_do, instead = row.few_steps.get(schedule, (1, "", ""))
    if num_inference_steps and num_inference_steps < fewest:
        return f"sampling.num_inference_steps: '{sampler}' with {num_inference_steps} steps {what_fewer_do}; {instead}"
    if row.whole_strides and num_inference_steps and num_train_timesteps % num_inference_steps:
        return (
            f"sampling.num_inference_steps: '{sampler}' visits T // n, and {num_inference_steps} does not divide "
            f"{num_train_timesteps}; use a divisor, or euler, which solves the same equation"
        )
    if num_inference_steps and schedule != "flow" and _is_miscounted(num_inference_steps, num_train_timesteps):
        fewer = num_inference_steps - 1
        while _is_miscounted(fewer, num_train_timesteps):
            fewer -= 1
        return (
            f"sampling.num_inference_steps: diffusers counts one step too many for {num_inference_steps} of "
            f"{num_train_timesteps} timesteps and ends at timestep -1; use {fewer}"
        )
    return None


def offered_samplers(
    *,
    schedule: str,
    prediction_type: str,
    rescale_betas_zero_snr: bool = False,
    num_inference_steps: int | None = None,
    num_train_timesteps: int = 1000,
) -> tuple[list[str], dict[str, str]]:
    """(samplers that may be used, the others with the reason why not). No number of steps: whether any number fits."""
    problems = {
        sampler: pair_problem(
            schedule=schedule,
            prediction_type=prediction_type,
            rescale_betas_zero_snr=rescale_betas_zero_snr,
            sampler=sampler,
            num_inference_steps=num_inference_steps,
            num_train_timesteps=num_train_timesteps,
        )
        for sampler in SAMPLERS
    }
    return [name for name, why in problems.items() if not why], {name: why for name, why in problems.items() if why}


def _is_miscounted(num_inference_steps: int, num_train_timesteps: int) -> bool:
    """Trailing spacing is arange(T, 0, -T / n): by rounding it has n + 1 entries for some n (61, 103, 121, …)."""
    return math.ceil(num_train_timesteps / (num_train_timesteps / num_inference_steps)) > num_inference_steps


def pair_warning(*, schedule: str, sampler: str, num_inference_steps: int) -> str | None:
    """One sentence, with the number, on a pair that works but is poor at so few steps; None when it is fine or unknown.

    The number is measured by the self-test at the next smaller of MEASURED_STEPS, with the published constants of the
    schedule; poor means an error above POOR that another sampler at least halves at equal network evaluations.
    """
    table = _solver_errors().get(schedule, {})
    place = max((index for index, steps in enumerate(MEASURED_STEPS) if steps <= num_inference_steps), default=0)
    error = _error_at(table, sampler, place)
    if error is None or error <= POOR:
        return None
    known = {
        name: found
        for name in table
        if SAMPLERS[name].stages == 1 and (found := _error_at(table, name, place)) is not None
    }
    best = min(known, key=known.__getitem__)
    if known[best] * MUCH_BETTER > error:
        return None
    return (
        f"'{sampler}' with {MEASURED_STEPS[place]} steps misses a known distribution by {error:.2f} of its deviation; "
        f"'{best}' by {known[best]:.2f}"
    )


def _error_at(table: dict[str, list[float | None]], sampler: str, place: int) -> float | None:
    row = table.get(sampler, [])
    return row[place] if place < len(row) else None


@lru_cache(maxsize=1)
def _solver_errors() -> dict[str, dict[str, list[float | None]]]:
    """Schedule → sampler → errors at MEASURED_STEPS."""
    errors: dict[str, dict[str, list[float | None]]] = json.loads(SOLVER_ERRORS.read_text())["errors"]
    return errors
