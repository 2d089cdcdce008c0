"""The schedule's table against published constants and against diffusers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import DDPMScheduler

from core.config.schema import DiffusionSettings
from core.diffusion.schedule import build_schedule, to_pred_epsilon, to_pred_original
from core.errors import ConfigError

VP = ["linear", "scaled_linear", "cosine", "sigmoid"]
DIFFUSERS = {"cosine": "squaredcos_cap_v2"}


def vp(name: str, **kwargs: object) -> DiffusionSettings:
    return DiffusionSettings.model_validate({"schedule": name, "prediction_type": "v_prediction", **kwargs})


@pytest.mark.parametrize("name", VP)
def test_alpha_bar_equals_diffusers(name: str) -> None:
    expected = DDPMScheduler(num_train_timesteps=1000, beta_schedule=DIFFUSERS.get(name, name)).alphas_cumprod
    assert (build_schedule(vp(name)).alphas_cumprod - expected).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("name", "kwargs", "last"),
    [
        ("linear", {}, 4.036e-5),  # arXiv 2006.11239: beta from 1e-4 to 0.02
        ("scaled_linear", {"beta_start": 0.00085, "beta_end": 0.012}, 4.66e-3),  # Stable Diffusion
        ("cosine", {}, 2.43e-9),  # arXiv 2102.09672, beta capped at 0.999
        ("sigmoid", {}, 4.0e-5),
    ],
)
def test_last_alpha_bar_is_the_published_constant(name: str, kwargs: dict[str, float], last: float) -> None:
    assert build_schedule(vp(name, **kwargs)).alphas_cumprod[-1].item() == pytest.approx(last, rel=0.02)


def test_zero_terminal_snr_ends_in_pure_noise() -> None:
    schedule = build_schedule(vp("linear", rescale_betas_zero_snr=True))
    assert schedule.signal_scale[-1] == 0
    assert schedule.noise_scale[-1] == 1


def test_zero_terminal_snr_with_epsilon_is_refused() -> None:
    settings = DiffusionSettings(schedule="linear", prediction_type="epsilon", rescale_betas_zero_snr=True)
    with pytest.raises(ConfigError, match="zero terminal SNR"):
        build_schedule(settings)


def test_flow_is_the_straight_path() -> None:
    schedule = build_schedule(DiffusionSettings())
    assert torch.allclose(schedule.signal_scale + schedule.noise_scale, torch.ones(1000))
    assert schedule.timesteps[-1] == 1000
    assert schedule.noise_scale[-1] == 1


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample", "flow"])
def test_a_perfect_prediction_gives_back_latents_and_noise(prediction_type: str) -> None:
    schedule = build_schedule(
        DiffusionSettings.model_validate(
            {"schedule": "flow" if prediction_type == "flow" else "linear", "prediction_type": prediction_type}
        )
    )
    source = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, 5, 4, 8, 8, generator=source)
    t = torch.tensor([5, 100, 300, 500, 700])
    noisy = schedule.add_noise(latents, noise, t)
    signal, noise_scale = schedule.signal_scale[t].view(-1, 1, 1, 1), schedule.noise_scale[t].view(-1, 1, 1, 1)
    clean = to_pred_original(prediction_type, schedule.target(latents, noise, t), noisy, signal, noise_scale)
    assert torch.allclose(clean, latents, atol=1e-4)
    assert torch.allclose(to_pred_epsilon(latents, noisy, signal, noise_scale), noise, atol=1e-2)


@pytest.mark.parametrize(
    ("prediction_type", "rule", "weight"),
    [
        ("epsilon", 1, lambda snr: min(snr, 5) / snr),
        ("epsilon", 2, lambda snr: min(snr, 5) / snr),
        ("v_prediction", 1, lambda snr: min(snr, 5) / (snr + 1)),
        ("v_prediction", 2, lambda snr: min(snr + 1, 5) / (snr + 1)),
        ("sample", 1, lambda snr: min(snr, 5)),
        ("sample", 2, lambda snr: min(snr + 1, 5)),
    ],
)
@pytest.mark.parametrize("t", [0, 250, 999])
def test_min_snr_weight_is_the_papers_or_that_of_snr_plus_1(
    prediction_type: str, rule: int, weight: Callable[[float], float], t: int
) -> None:
    settings = DiffusionSettings.model_validate(
        {"schedule": "linear", "prediction_type": prediction_type, "min_snr_gamma": 5.0}
    )
    schedule = build_schedule(settings, weight_rule=rule).to("cpu")
    snr = float(schedule.alphas_cumprod[t] / (1 - schedule.alphas_cumprod[t]))
    assert float(schedule.loss_weight(torch.tensor([t]))) == pytest.approx(weight(snr), rel=1e-3)


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
def test_min_snr_trains_the_first_step_of_sampling_where_no_signal_is_left(prediction_type: str) -> None:
    values = {"schedule": "linear", "prediction_type": prediction_type, "min_snr_gamma": 5.0}
    settings = DiffusionSettings.model_validate({**values, "rescale_betas_zero_snr": True})
    last = torch.tensor([999])
    assert float(build_schedule(settings).loss_weight(last)) == pytest.approx(1.0)
    assert float(build_schedule(settings, weight_rule=1).loss_weight(last)) == 0.0  # what older runs keep


def test_without_min_snr_every_timestep_weighs_one() -> None:
    assert torch.equal(build_schedule(DiffusionSettings()).loss_weight(torch.arange(1000)), torch.ones(1000))
