"""Which samplers exist, and which combinations of schedule, prediction type and sampler are refused, and why.

The reasons are measured: see docs/log.md and the self-test in tests/core/diffusion. Light: no torch here, so that the
form and the command line can refuse a pair at once.
"""

from __future__ import annotations

from typing import Literal

SAMPLERS = (
    "ddpm",
    "ddim",
    "euler",
    "euler_ancestral",
    "heun",
    "lms",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "unipc",
    "deis",
)
SamplerName = Literal[
    "ddpm", "ddim", "euler", "euler_ancestral", "heun", "lms", "dpmpp_2m", "dpmpp_2m_sde", "unipc", "deis"
]
FLOW_SAMPLERS = ("euler", "heun", "dpmpp_2m", "unipc")
ZERO_SNR_SAMPLERS = ("ddim", "ddpm")


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
    if schedule == "flow" and sampler not in FLOW_SAMPLERS:
        return f"sampling.sampler: '{sampler}' cannot sample flow matching; use one of {', '.join(FLOW_SAMPLERS)}"
    if schedule == "cosine" and sampler == "heun":
        return "sampling.sampler: 'heun' diverges on the cosine schedule; use unipc or dpmpp_2m"
    if sampler == "euler_ancestral" and prediction_type == "sample":
        return "sampling.sampler: 'euler_ancestral' does not know prediction type sample; use dpmpp_2m_sde or ddpm"
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
    most = num_train_timesteps - 2
    if schedule == "flow" and sampler in ("unipc", "dpmpp_2m") and (num_inference_steps or 0) > most:
        return (
            f"sampling.num_inference_steps: '{sampler}' loses count with as many steps as training timesteps, got "
            f"{num_inference_steps} of {num_train_timesteps}; use fewer, or euler"
        )
    if sampler == "ddim" and num_inference_steps and num_train_timesteps % num_inference_steps:
        return (
            f"sampling.num_inference_steps: 'ddim' visits T // n, and {num_inference_steps} does not divide "
            f"{num_train_timesteps}; use a divisor or dpmpp_2m"
        )
    return None
