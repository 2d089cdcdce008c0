"""Every sampler the factory builds is judged against a denoiser that is a formula: no training, no network.

Data: a Gaussian of mean 0.7 and deviation 0.5 in each latent value, then E[x_0 | x_t] is linear in x_t and the
distribution a perfect solver must reach is known.
"""

from __future__ import annotations

import diffusers
import pytest
import torch

from core.config.compatibility import pair_problem
from core.config.schema import DiffusionSettings
from core.diffusion.sampler_table import FLOW_SAMPLERS, SAMPLERS
from core.diffusion.samplers import build_sampler, initial_latents, network_input, scales_at
from core.diffusion.schedule import NoiseSchedule, build_schedule
from core.errors import UsageError

MEAN, STD, COUNT = 0.7, 0.5, 4_000
PREDICTIONS = {"flow": ("flow",), "scaled_linear": ("epsilon",), "sigmoid": ("v_prediction",)}  # otherwise all three
PAIRS = [
    (sampler, schedule, prediction_type)
    for schedule in ("linear", "scaled_linear", "cosine", "sigmoid", "flow")
    for prediction_type in PREDICTIONS.get(schedule, ("epsilon", "v_prediction", "sample"))
    for sampler in SAMPLERS
    if pair_problem(schedule=schedule, prediction_type=prediction_type, sampler=sampler) is None
]


def make(schedule: str, prediction_type: str) -> NoiseSchedule:
    return build_schedule(DiffusionSettings.model_validate({"schedule": schedule, "prediction_type": prediction_type}))


def exact_output(prediction_type: str, noisy: torch.Tensor, signal: float, noise: float) -> torch.Tensor:
    """The model output of a perfect network, in float64."""
    x = noisy.double()
    clean = MEAN + signal * STD**2 / (signal**2 * STD**2 + noise**2) * (x - signal * MEAN)
    epsilon = (x - signal * clean) / noise
    outputs = {
        "sample": clean,
        "epsilon": epsilon,
        "v_prediction": signal * epsilon - noise * clean,
        "flow": epsilon - clean,
    }
    return outputs[prediction_type].float()


def run(sampler_name: str, schedule: NoiseSchedule, steps: int, sampler: object = None) -> tuple[float, float]:
    """(error of the mean, error of the deviation) after sampling with the exact denoiser."""
    source = torch.Generator().manual_seed(0)
    built = sampler or build_sampler(sampler_name, schedule, steps)
    latents = initial_latents(schedule, built, torch.randn(COUNT, 1, 1, 1, generator=source))
    extra = {"generator": source} if SAMPLERS[sampler_name].stochastic else {}
    for index, timestep in enumerate(built.timesteps):
        signal, noise = scales_at(schedule, built, index)
        noisy = network_input(schedule, built, latents, timestep)
        output = exact_output(schedule.prediction_type, noisy, signal, noise)
        latents = built.step(output, timestep, latents, **extra).prev_sample
    return abs(float(latents.mean()) - MEAN), abs(float(latents.std()) - STD)


@pytest.mark.parametrize(("sampler", "schedule", "prediction_type"), PAIRS)
def test_every_offered_pair_reaches_the_true_distribution(sampler: str, schedule: str, prediction_type: str) -> None:
    steps = 50 if sampler == "lms" else 200  # LMS integrates numerically at every step
    mean_error, std_error = run(sampler, make(schedule, prediction_type), steps)
    assert mean_error < 0.02
    assert std_error < 0.03


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_zero_terminal_snr_samples_the_true_distribution(sampler: str, prediction_type: str) -> None:
    settings = {"schedule": "linear", "prediction_type": prediction_type, "rescale_betas_zero_snr": True}
    mean_error, std_error = run(sampler, build_schedule(DiffusionSettings.model_validate(settings)), 200)
    assert mean_error < 0.02
    assert std_error < 0.03


@pytest.mark.parametrize("schedule", ["linear", "flow"])
@pytest.mark.parametrize("sampler", ["dpmpp_2m", "unipc"])
def test_second_order_solvers_need_fewer_steps_than_euler(sampler: str, schedule: str) -> None:
    noise = make(schedule, "flow" if schedule == "flow" else "epsilon")
    assert sum(run(sampler, noise, 10)) < sum(run("euler", noise, 10))


@pytest.mark.parametrize(("sampler", "schedule", "prediction_type"), [p for p in PAIRS if p[1] != "flow"])
def test_alpha_bar_of_the_sampler_is_trainings(sampler: str, schedule: str, prediction_type: str) -> None:
    noise = make(schedule, prediction_type)
    assert (build_sampler(sampler, noise, 10).alphas_cumprod - noise.alphas_cumprod).abs().max() < 1e-6


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_first_step_is_at_the_last_timestep(sampler: str) -> None:
    assert float(build_sampler(sampler, make("linear", "epsilon"), 10).timesteps[0]) == 999


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - set(FLOW_SAMPLERS) - {"deis"}))
def test_samplers_that_cannot_do_flow_are_refused_with_the_reason(sampler: str) -> None:
    with pytest.raises(UsageError, match="cannot sample flow matching"):
        build_sampler(sampler, make("flow", "flow"), 10)


def test_ddim_refuses_step_counts_that_it_would_mistime() -> None:
    with pytest.raises(UsageError, match="does not divide"):
        build_sampler("ddim", make("linear", "epsilon"), 30)


def test_planted_fault_clipping_is_caught_by_the_exact_denoiser() -> None:
    noise = make("linear", "epsilon")
    clipping = diffusers.DDIMScheduler(trained_betas=noise.betas.tolist(), timestep_spacing="trailing")  # type: ignore[union-attr]
    assert clipping.config.clip_sample
    clipping.set_timesteps(200)
    assert sum(run("ddim", noise, 200, clipping)) > 0.05


def test_planted_fault_heun_built_with_from_config_samples_another_schedule() -> None:
    noise = make("cosine", "v_prediction")
    training = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    bare = diffusers.HeunDiscreteScheduler.from_config(diffusers.DDPMScheduler().config)
    assert (bare.alphas_cumprod - training.alphas_cumprod).abs().max() > 0.01
    assert (noise.alphas_cumprod - training.alphas_cumprod).abs().max() < 1e-6
