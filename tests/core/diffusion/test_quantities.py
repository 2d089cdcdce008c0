"""Every quantity against a direct computation, alpha_bar against published formulas and constants and diffusers."""

from __future__ import annotations

import math

import diffusers
import numpy as np
import pytest

from core.config.schema import DiffusionSettings
from core.diffusion.quantities import LEAK, QUANTITIES, effective_snr
from core.diffusion.schedule import NoiseSchedule, build_schedule
from core.diffusion.schedule_table import schedule_table, visited
from core.errors import UsageError

SCHEDULES = ("linear", "scaled_linear", "cosine", "sigmoid", "flow")
DIFFUSERS = {"cosine": "squaredcos_cap_v2"}


def make(schedule: str, **changes: object) -> NoiseSchedule:
    prediction = "flow" if schedule == "flow" else "v_prediction"
    return build_schedule(
        DiffusionSettings.model_validate({"schedule": schedule, "prediction_type": prediction, **changes})
    )


def published_alpha_bar(schedule: str) -> np.ndarray:
    """From the papers' formulas in float64, without diffusers."""
    if schedule == "linear":  # arXiv 2006.11239, section 4
        return np.cumprod(1.0 - np.linspace(1e-4, 0.02, 1000))
    if schedule == "scaled_linear":  # arXiv 2112.10752: linear in √beta
        return np.cumprod(1.0 - np.linspace(1e-4**0.5, 0.02**0.5, 1000) ** 2)
    if schedule == "cosine":  # arXiv 2102.09672, eq. 17, beta at most 0.999
        f = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(1001)]
        return np.cumprod([1.0 - min(1.0 - f[t + 1] / f[t], 0.999) for t in range(1000)])
    slopes = 1.0 / (1.0 + np.exp(-np.linspace(-6, 6, 1000)))  # GeoDiff, arXiv 2203.02923
    return np.cumprod(1.0 - (slopes * (0.02 - 1e-4) + 1e-4))


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "flow"])
def test_alpha_bar_is_the_published_one_and_that_of_diffusers(schedule: str) -> None:
    alpha_bar = schedule_table(make(schedule))["alpha_bar"]
    theirs = diffusers.DDPMScheduler(beta_schedule=DIFFUSERS.get(schedule, schedule)).alphas_cumprod.double().numpy()
    np.testing.assert_allclose(alpha_bar, theirs, atol=1e-6)
    np.testing.assert_allclose(alpha_bar, published_alpha_bar(schedule), atol=2e-6)


@pytest.mark.parametrize(
    ("schedule", "changes", "constant"),
    [
        ("linear", {}, 4.0e-5),
        ("scaled_linear", {"beta_start": 0.00085, "beta_end": 0.012}, 4.66e-3),
        ("cosine", {}, 2.4e-9),
        ("sigmoid", {}, 4.0e-5),
    ],
)
def test_the_last_alpha_bar_is_the_published_constant(schedule: str, changes: dict, constant: float) -> None:  # type: ignore[type-arg]
    found = schedule_table(make(schedule, **changes))["alpha_bar"][-1]
    assert found == pytest.approx(constant, rel=0.03)


def test_flow_is_the_straight_path() -> None:
    table = schedule_table(make("flow"))
    sigma = np.arange(1, 1001) / 1000
    np.testing.assert_allclose(table["signal_scale"], 1 - sigma, atol=1e-6)
    np.testing.assert_allclose(table["noise_scale"], sigma, atol=1e-6)
    assert np.isnan(table["beta"]).all() and np.isnan(table["posterior_variance"]).all()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_quantity_has_a_column_a_formula_and_a_source(schedule: str) -> None:
    table = schedule_table(make(schedule))
    assert set(table) == set(QUANTITIES)
    assert all(column.shape == (1000,) and column.dtype == np.float64 for column in table.values())
    assert all(quantity.formula and quantity.source and quantity.meaning for quantity in QUANTITIES.values())


def test_posterior_variance_is_what_diffusers_samples_with() -> None:
    table = schedule_table(make("linear"))
    scheduler = diffusers.DDPMScheduler(clip_sample=False)
    for t in (1, 10, 500, 999):
        assert table["posterior_variance"][t] == pytest.approx(float(scheduler._get_variance(t)), rel=2e-3)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_ratios_agree_with_each_other(schedule: str) -> None:
    table = schedule_table(make(schedule))
    inner = slice(0, 990)
    np.testing.assert_allclose(table["snr"][inner], table["sigma"][inner] ** -2.0, rtol=1e-9)
    np.testing.assert_allclose(np.exp(table["log_snr"][inner]), table["snr"][inner], rtol=1e-9)
    np.testing.assert_allclose(table["weight_min_snr"], np.minimum(table["snr"], 5))
    np.testing.assert_allclose(table["weight_v"], table["snr"] + 1)


def test_the_weight_of_flow_is_one_over_sigma_squared_of_its_path() -> None:
    table = schedule_table(make("flow"))
    np.testing.assert_allclose(table["weight_flow"], 1 / (np.arange(1, 1001) / 1000) ** 2, rtol=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_area_under_the_density_is_one(schedule: str) -> None:
    table = schedule_table(make(schedule))
    known = np.isfinite(table["log_snr_density"])
    area = -np.trapezoid(table["log_snr_density"][known], table["log_snr"][known])
    assert area == pytest.approx(1.0, abs=0.01)


def test_zero_terminal_snr_ends_in_pure_noise_and_begins_as_before() -> None:
    plain, rescaled = make("linear"), make("linear", rescale_betas_zero_snr=True)
    assert float(plain.signal_scale[-1]) == pytest.approx(0.00635, rel=0.01)
    assert float(rescaled.signal_scale[-1]) < 1e-6
    assert float(rescaled.signal_scale[0]) == pytest.approx(float(plain.signal_scale[0]), abs=1e-6)


def test_the_schedule_of_stable_diffusion_leaks() -> None:
    assert float(make("scaled_linear", beta_start=0.00085, beta_end=0.012).signal_scale[-1]) > LEAK
    assert float(make("cosine").signal_scale[-1]) < LEAK


def test_effective_snr_follows_the_variance_of_the_channel() -> None:
    snr = schedule_table(make("cosine"))["snr"]
    found = effective_snr(snr, [1.0, 4.0, 0.25])
    np.testing.assert_allclose(found, np.stack([snr, 4 * snr, snr / 4]))


def test_samplers_visit_as_many_timesteps_as_asked_and_start_at_the_end() -> None:
    steps = visited(make("cosine"), "dpmpp_2m", 10)
    assert len(steps) == 10 and steps[0] == 999 and (np.diff(steps) < 0).all()


def test_a_refused_pair_visits_nothing_and_says_why() -> None:
    with pytest.raises(UsageError, match="diverges"):
        visited(make("cosine"), "heun", 10)
