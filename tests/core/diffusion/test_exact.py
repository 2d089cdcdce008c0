"""The guard for an upgrade of diffusers: every sampler against a perfect network, its order, and planted faults.

Bounds come from measurement (docs/log.md). The last step of every solver jumps to σ = 0 with first order, so its order
is measured half-way, where only the solver itself has erred; at the end, solvers of second order are held to Euler's.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import diffusers
import numpy as np
import pytest
import torch

from core.config.compatibility import SOLVER_ERRORS, pair_problem
from core.config.schema import DiffusionSettings
from core.diffusion.gaussian_mixture_test import (
    MIXTURE,
    Mixture,
    Paths,
    perfect_output,
    sampling_floor,
    solve,
    solver_error,
    standardised,
    strata,
)
from core.diffusion.sampler_table import FLOW_SAMPLERS, SAMPLERS, ZERO_SNR_SAMPLERS, Sampler
from core.diffusion.samplers import (
    build_sampler,
    build_unchecked,
    initial_latents,
    network_input,
    row_of,
    scales_at,
)
from core.diffusion.schedule import NoiseSchedule, build_schedule

SCHEDULES = ("linear", "scaled_linear", "cosine", "sigmoid", "flow")
STEPS = (20, 50, 100)
PATHS = 128
ORDERS = {  # measured half-way; LMS reaches its 4 only in small steps
    "ddim": (0.9, 1.1),
    "euler": (0.9, 1.1),
    "heun": (1.8, 2.3),
    "dpmpp_2m": (1.7, 2.2),
    "deis": (1.65, 2.2),
    "unipc": (2.5, 3.5),
    "lms": (1.8, 4.2),
}
ERRORS = json.loads(SOLVER_ERRORS.read_text())["errors"]
DETERMINISTIC = [
    (schedule, sampler)
    for schedule in SCHEDULES
    for sampler in SAMPLERS
    if not SAMPLERS[sampler].stochastic
    and pair_problem(schedule=schedule, prediction_type="flow" if schedule == "flow" else "epsilon", sampler=sampler)
    is None
]
STOCHASTIC = [
    *((schedule, sampler) for schedule in SCHEDULES[:-1] for sampler in SAMPLERS if SAMPLERS[sampler].stochastic),
    ("flow", "dpmpp_2m_sde"),
]


def make(schedule: str, prediction_type: str = "epsilon") -> NoiseSchedule:
    settings = {"schedule": schedule, "prediction_type": "flow" if schedule == "flow" else prediction_type}
    return build_schedule(DiffusionSettings.model_validate(settings))


def halfway_error(paths: Paths, mixture: Mixture = MIXTURE) -> float:
    """Mean distance from the exact probability flow half-way, of a sampler that draws no noise.

    Every sampler here ends with one jump to σ = 0 that is of first order. Half-way that jump has not been made yet, so
    the order of the solver itself shows, where the numbers of steps compared all visit the same middle timestep.
    """
    exact = mixture.quantile(mixture.cdf(paths.start, *paths.start_scales), *paths.middle_scales)
    return float((paths.middle - exact).abs().mean())


def order(evaluations: list[int] | tuple[int, ...], errors: list[float]) -> float:
    """Order of convergence: minus the slope of log error against log evaluations, by least squares."""
    slope = np.polyfit(np.log(np.asarray(evaluations, float)), np.log(np.asarray(errors, float)), 1)[0]
    return -float(slope)


@lru_cache(maxsize=64)
def path_errors(sampler: str, schedule: str) -> tuple[list[int], list[float], list[float]]:
    """(evaluations, errors at the end, errors half-way) at STEPS, each of which visits the same middle timestep."""
    built = make(schedule)
    odd = 1 if (sampler, schedule) == ("heun", "flow") else 0  # its timesteps hold both ends
    evaluations, ends, middles = [], [], []
    for steps in STEPS:
        paths = solve(sampler, built, steps + odd, num_samples=PATHS)
        exact = MIXTURE.quantile(MIXTURE.cdf(paths.start, *paths.start_scales))
        evaluations.append(paths.num_evaluations)
        ends.append(float((paths.end - exact).abs().mean()))
        middles.append(halfway_error(paths))
    return evaluations, ends, middles


# -- the formulas


def test_the_perfect_network_is_the_mean_of_the_posterior() -> None:
    signal, noise, noisy = 0.6, 0.8, 0.37
    x = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
    posterior = MIXTURE.density(x) * torch.exp(-0.5 * ((noisy - signal * x) / noise) ** 2)
    direct = float((x * posterior).sum() / posterior.sum())
    assert float(MIXTURE.denoised(torch.tensor([noisy], dtype=torch.float64), signal, noise)) == pytest.approx(direct)


def test_quantiles_invert_the_distribution() -> None:
    share = strata(1001)
    for signal, noise in ((1.0, 0.0), (0.3, 0.95)):
        back = MIXTURE.cdf(MIXTURE.quantile(share, signal, noise), signal, noise)
        torch.testing.assert_close(back, share, atol=1e-12, rtol=0)


def test_the_mixture_has_mean_zero_and_variance_one() -> None:
    x = torch.linspace(-10, 10, 100_001, dtype=torch.float64)
    density = MIXTURE.density(x)
    assert float(torch.trapezoid(density, x)) == pytest.approx(1)
    assert float(torch.trapezoid(x * density, x)) == pytest.approx(0, abs=1e-9)
    assert float(torch.trapezoid(x**2 * density, x)) == pytest.approx(1)


def test_one_gaussian_has_the_linear_denoiser() -> None:
    single = standardised((1.0,), (3.0,), (2.0,))
    assert single == Mixture(weights=(1.0,), means=(0.0,), deviations=(1.0,))
    x = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
    torch.testing.assert_close(single.denoised(x, 0.6, 0.8), 0.6 * x)


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction", "flow"])
def test_the_output_is_what_training_would_have_asked_for(prediction_type: str) -> None:
    point = Mixture(weights=(1.0,), means=(0.7,), deviations=(1e-6,))  # one clean value: the answer is the target
    schedule = make("flow" if prediction_type == "flow" else "cosine", prediction_type)
    clean, noise, t = (
        torch.full((3, 1, 1, 1), 0.7),
        torch.tensor([-1.0, 0.2, 1.4]).view(3, 1, 1, 1),
        torch.full((3,), 600),
    )
    noisy = schedule.add_noise(clean, noise, t).double()
    signal_scale, noise_scale = float(schedule.signal_scale[600]), float(schedule.noise_scale[600])
    found = perfect_output(prediction_type, noisy, signal_scale, noise_scale, point)
    torch.testing.assert_close(found.float(), schedule.target(clean, noise, t), atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_the_floor_is_what_true_samples_show() -> None:
    count, source = 4096, np.random.default_rng(0)
    truth = MIXTURE.quantile(strata(count))
    found = []
    for _ in range(20):
        drawn = MIXTURE.quantile(torch.from_numpy(source.random(count))).sort().values
        found.append(float((drawn - truth).abs().mean()))
    assert sampling_floor(count) == pytest.approx(np.mean(found), rel=0.25)


def test_order_is_the_slope() -> None:
    assert order([10, 20, 40], [1.0, 0.25, 0.0625]) == pytest.approx(2.0)


# -- the samplers


def unjudged(table: Mapping[str, Sampler]) -> list[str]:
    """Samplers of the table without an order that was measured, or without their errors in `solver_errors.json`."""
    found = []
    for name, row in table.items():
        low, high = ORDERS.get(name, (math.inf, -math.inf)) if not row.stochastic else (row.order, row.order)
        known = [schedule for schedule, errors in ERRORS.items() if name in errors]
        expected = [schedule for schedule in ERRORS if schedule != "flow" or name in FLOW_SAMPLERS]
        if not low <= row.order <= high or known != expected:
            found.append(name)
    return found


def test_every_sampler_of_the_table_is_judged() -> None:
    assert unjudged(SAMPLERS) == []


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("newest", replace(SAMPLERS["unipc"], stochastic=True)),
        ("dpmpp_2m", replace(SAMPLERS["dpmpp_2m"], order=3)),
    ],
)
def test_a_planted_row_without_its_test_or_with_a_wrong_order_is_caught(name: str, row: Sampler) -> None:
    assert unjudged({**SAMPLERS, name: row}) == [name]


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_row_says_what_the_built_sampler_does(name: str) -> None:
    row = SAMPLERS[name]
    for schedule in ("linear", *(["flow"] if row.flow else [])):
        built = build_unchecked(name, make(schedule), 10)
        assert row_of(built) == row
        assert len(built.timesteps) == row.evaluations(10)
    drawing = "generator" in inspect.signature(built.step).parameters
    assert drawing or not row.stochastic


@pytest.mark.parametrize(("schedule", "sampler"), DETERMINISTIC)
def test_every_deterministic_sampler_follows_the_exact_path_at_its_order(schedule: str, sampler: str) -> None:
    evaluations, _, errors = path_errors(sampler, schedule)
    lowest, highest = ORDERS[sampler]
    if (schedule, sampler) == ("cosine", "unipc"):  # 2e-4 from the first: there the float32 of its tables shows
        assert errors[0] < 0.1 * path_errors("dpmpp_2m", schedule)[2][0]
        lowest = 1.3
    assert lowest < order(evaluations, errors) < highest


@pytest.mark.parametrize(("schedule", "sampler"), DETERMINISTIC)
def test_every_deterministic_sampler_ends_on_the_exact_path(schedule: str, sampler: str) -> None:
    evaluations, errors, _ = path_errors(sampler, schedule)
    if sampler in ("ddim", "euler"):
        assert 0.9 < order(evaluations, errors) < 1.1
        assert errors[-1] < 0.02
        return
    assert order(evaluations, errors) > (1.8 if sampler == "lms" else 0.7)
    assert errors[-1] < 0.004
    euler_evaluations, euler_errors, _ = path_errors("euler", schedule)
    expected = np.exp(np.interp(np.log(evaluations[0]), np.log(euler_evaluations), np.log(euler_errors)))
    assert errors[0] < expected  # at equal cost, from the fewest steps on


@pytest.mark.parametrize(("schedule", "sampler"), STOCHASTIC)
def test_every_sampler_that_draws_noise_reaches_the_true_distribution(schedule: str, sampler: str) -> None:
    built = make(schedule, "v_prediction")
    few, many = (solver_error(sampler, built, steps, num_samples=1 << 13) for steps in (10, 80))
    assert many.pathwise is None
    assert many.wasserstein < max(0.45 * few.wasserstein, 2.5 * many.wasserstein_floor)
    assert many.wasserstein < 0.04


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
@pytest.mark.parametrize(("schedule", "sampler"), [pair for pair in DETERMINISTIC if pair[0] != "flow"])
def test_what_the_network_predicts_makes_no_difference(schedule: str, sampler: str, prediction_type: str) -> None:
    found = solver_error(sampler, make(schedule, prediction_type), 10, num_samples=PATHS).pathwise
    assert found == pytest.approx(solver_error(sampler, make(schedule), 10, num_samples=PATHS).pathwise, rel=0.01)


# -- what the gate refuses is refused with reason


@pytest.mark.parametrize("steps", [5, 10, 20])
def test_refused_heun_on_cosine_really_diverges(steps: int) -> None:
    assert refused_error("heun", make("cosine"), steps) > 1.0


def test_heun_on_leading_timesteps_of_cosine_really_loses_the_mean() -> None:
    cosine, bright = make("cosine"), Mixture(weights=(1.0,), means=(0.5,), deviations=(0.5,))
    heun = build_unchecked("heun", cosine, 10, timestep_spacing="leading")
    lost = solver_error(heun, cosine, 10, mixture=bright, num_samples=PATHS).wasserstein
    assert lost > 1.2 * solver_error("euler", cosine, 20, mixture=bright, num_samples=PATHS).wasserstein


def ending_in_noise(schedule: str, prediction_type: str = "v_prediction") -> NoiseSchedule:
    settings = {"schedule": schedule, "prediction_type": prediction_type, "rescale_betas_zero_snr": True}
    return build_schedule(DiffusionSettings.model_validate(settings))


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - set(ZERO_SNR_SAMPLERS)))
def test_refused_samplers_really_diverge_with_zero_terminal_snr(sampler: str) -> None:
    assert refused_error(sampler, ending_in_noise("linear"), 20) == math.inf


@pytest.mark.parametrize("sampler", sorted(set(ZERO_SNR_SAMPLERS)))
@pytest.mark.parametrize(
    ("schedule", "prediction_type"), [("linear", "v_prediction"), ("cosine", "v_prediction"), ("linear", "sample")]
)
def test_offered_samplers_are_right_with_zero_terminal_snr(schedule: str, prediction_type: str, sampler: str) -> None:
    built = ending_in_noise(schedule, prediction_type)
    if prediction_type in SAMPLERS[sampler].refused_predictions:
        return
    paths = 1 << 12 if SAMPLERS[sampler].stochastic else PATHS
    few, many = (solver_error(sampler, built, steps, num_samples=paths) for steps in (10, 50))
    assert many.wasserstein < max(0.45 * few.wasserstein, 2.5 * many.wasserstein_floor)
    assert many.wasserstein < (0.06 if SAMPLERS[sampler].stochastic else 0.03)


@pytest.mark.parametrize("steps", [5, 10, 20, 50])
def test_refused_deis_on_flow_matching_is_really_no_better_than_euler(steps: int) -> None:
    flow = make("flow")
    assert refused_error("deis", flow, steps) > solver_error("euler", flow, steps, num_samples=PATHS).wasserstein


def test_refused_euler_ancestral_in_three_steps_on_cosine_really_ends_in_nan() -> None:
    assert refused_error("euler_ancestral", make("cosine"), 3) == math.inf


def test_refused_ddim_steps_really_cost_accuracy() -> None:
    linear = make("linear")
    assert refused_error("ddim", linear, 300) > 3 * solver_error("euler", linear, 300, num_samples=PATHS).wasserstein


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"ddim", "heun"}))
def test_refused_step_counts_really_end_below_zero(sampler: str) -> None:
    linear = make("linear")
    for steps in (61, 103, 121, 122):
        assert pair_problem(schedule="linear", prediction_type="epsilon", sampler=sampler, num_inference_steps=steps)
        assert float(build_unchecked(sampler, linear, steps).timesteps[-1]) == -1


def test_no_other_step_count_is_miscounted() -> None:
    linear = make("linear")
    for steps in range(1, 1001):
        if pair_problem(schedule="linear", prediction_type="epsilon", sampler="ddpm", num_inference_steps=steps):
            continue
        assert len(build_unchecked("ddpm", linear, steps).timesteps) == steps


@pytest.mark.filterwarnings("ignore")  # scipy warns of the integrals that diverge
def refused_error(sampler: str, schedule: NoiseSchedule, steps: int) -> float:
    return solver_error(build_unchecked(sampler, schedule, steps), schedule, steps, num_samples=PATHS).wasserstein


# -- where sampling starts and what the network is told


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "ddim"])
def test_sampling_starts_with_the_variance_that_training_saw(sampler: str) -> None:
    """scaled_linear leaks most: √alpha_bar_T = 0.068, so a start of variance σ² would be 0.5 % too small."""
    built = make("scaled_linear")
    made = build_sampler(sampler, built, 10)
    noise = torch.full((1, 1, 1, 1), 3.0)
    seen = network_input(built, made, initial_latents(built, made, noise), made.timesteps[0])
    assert float(seen) == pytest.approx(3.0, abs=1e-4)


@pytest.mark.parametrize("sampler", FLOW_SAMPLERS)
def test_a_flow_network_is_told_the_very_noise_there_is(sampler: str) -> None:
    built = make("flow")
    made = build_sampler(sampler, built, 7)
    told = [float(timestep) / 1000 for timestep in made.timesteps]
    there = [scales_at(built, made, index)[1] for index in range(len(made.timesteps))]
    assert told == pytest.approx(there, abs=1e-6)


# -- planted faults: each must be seen


def ddim(schedule: NoiseSchedule, **changes: object) -> diffusers.DDIMScheduler:
    assert schedule.betas is not None
    settings = {
        "trained_betas": schedule.betas.tolist(),
        "clip_sample": False,
        "timestep_spacing": "trailing",
        "prediction_type": schedule.prediction_type,
        **changes,
    }
    sampler = diffusers.DDIMScheduler(**settings)
    sampler.set_timesteps(50)
    return sampler


def test_nothing_planted_passes() -> None:
    schedule = make("linear")
    assert solver_error(ddim(schedule), schedule, 50, num_samples=PATHS).wasserstein < 0.03


@pytest.mark.parametrize(
    ("fault", "changes"),
    [
        ("clipping", {"clip_sample": True}),
        ("wrong betas", {"trained_betas": None, "beta_schedule": "squaredcos_cap_v2"}),
        ("wrong prediction type", {"prediction_type": "v_prediction"}),
        ("nothing spelled out", {"trained_betas": None, "clip_sample": True, "timestep_spacing": "leading"}),
    ],
)
def test_a_planted_fault_is_seen(fault: str, changes: dict[str, object]) -> None:
    schedule = make("linear")
    assert solver_error(ddim(schedule, **changes), schedule, 50, num_samples=PATHS).wasserstein > 0.06, fault


def test_a_solver_of_first_order_is_seen_where_second_is_expected() -> None:
    schedule, errors = make("linear"), []
    assert schedule.betas is not None
    for steps in STEPS:
        sampler = diffusers.DPMSolverMultistepScheduler(
            trained_betas=schedule.betas.tolist(), timestep_spacing="trailing", final_sigmas_type="zero", solver_order=1
        )
        sampler.set_timesteps(steps)
        errors.append(halfway_error(solve(sampler, schedule, steps, num_samples=PATHS)))
    assert order(STEPS, errors) < ORDERS["dpmpp_2m"][0]


def test_leading_spacing_is_seen_where_the_data_have_a_mean() -> None:
    schedule, bright = make("cosine"), Mixture(weights=(1.0,), means=(2.0,), deviations=(0.5,))
    leading, trailing = (
        solver_error("unipc", schedule, 20, timestep_spacing=spacing, mixture=bright, num_samples=PATHS).wasserstein
        for spacing in ("leading", "trailing")
    )
    assert leading > 3 * trailing


def test_a_heun_that_from_config_built_is_seen() -> None:
    schedule = make("sigmoid")
    training = diffusers.DDPMScheduler(beta_schedule="sigmoid", clip_sample=False)
    bare = diffusers.HeunDiscreteScheduler.from_config({"num_train_timesteps": 1000})
    bare.set_timesteps(50)
    ours = solver_error("heun", schedule, 50, num_samples=PATHS).wasserstein
    assert (bare.alphas_cumprod - training.alphas_cumprod).abs().max() > 1e-3
    assert solver_error(bare, schedule, 50, num_samples=PATHS).wasserstein > 3 * ours
