"""Guidance against direct computation: scale, rescale, interval."""

from __future__ import annotations

import pytest
import torch

from core.config.interval import checked_interval, interval_as_setting
from core.config.load import load_config, parse_override
from core.diffusion.guidance import Guidance, guided_output, rescaled

NULL = 3


def denoiser(noisy: torch.Tensor, timestep: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    share = labels[:, :NULL].sum(1) if labels.is_floating_point() else (labels != NULL).float()
    return noisy * (1 + share.view(-1, 1, 1, 1))


def test_guided_is_unconditional_plus_the_scaled_difference() -> None:
    noisy = torch.randn(2, 1, 4, 4)
    told = guided_output(
        denoiser, noisy, torch.tensor(5.0), torch.tensor([0, 1]), guidance_scale=3.0, unconditional_label=NULL
    )
    torch.testing.assert_close(told.model_output, noisy + 3.0 * (2 * noisy - noisy))
    torch.testing.assert_close(told.conditional, 2 * noisy)


def test_weights_of_the_classes_have_a_null_class_too() -> None:
    noisy, weights = torch.randn(1, 1, 4, 4), torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    told = guided_output(denoiser, noisy, torch.tensor(5.0), weights, guidance_scale=2.0, unconditional_label=NULL)
    torch.testing.assert_close(told.model_output, 3 * noisy)


def test_full_rescale_gives_the_conditional_deviation_and_keeps_the_direction() -> None:
    guided, conditional = 7 * torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    full = rescaled(guided, conditional, 1.0)
    torch.testing.assert_close(full.std(dim=(1, 2, 3)), conditional.std(dim=(1, 2, 3)))
    half = rescaled(guided, conditional, 0.5)
    torch.testing.assert_close(half, 0.5 * full + 0.5 * guided)
    assert rescaled(guided, conditional, 0.0) is guided


@pytest.mark.parametrize(("level", "scale"), [(0.0, 1.0), (0.2, 4.0), (0.5, 4.0), (0.8, 4.0), (0.81, 1.0), (1.0, 1.0)])
def test_guidance_acts_inside_its_interval(level: float, scale: float) -> None:
    guidance = Guidance(scale=4.0, interval=(0.2, 0.8))
    assert guidance.scale_at(level, signal_scale=1.0, noise_scale=1.0) == scale


@pytest.mark.parametrize(
    ("signal", "noise", "scale"),
    [(1.0, 0.0, 1.0), (0.8, 0.6, 4.0), (0.6, 0.8, 4.0), (0.1, 0.995, 1.0), (0.0, 1.0, 1.0)],
)
def test_an_interval_in_sigma_looks_at_the_ratio_of_noise_to_signal(signal: float, noise: float, scale: float) -> None:
    guidance = Guidance(scale=4.0, interval=(0.28, 2.9, "sigma"))
    assert guidance.scale_at(0.5, signal_scale=signal, noise_scale=noise) == scale


@pytest.mark.parametrize(
    "wrong",
    [
        (0.2, 1.5),
        (0.9, 0.1),
        (0.28, 2.9, "t"),
        (2.9, 0.28, "sigma"),
        (0.2,),
        (True, 0.5),
        ("0", 1),
        (0.1, float("nan")),
        3,
    ],
)
def test_an_interval_that_means_nothing_is_refused_in_one_sentence(wrong: object) -> None:
    with pytest.raises(ValueError, match="must be two noise levels t / T from 0 to 1, or two of sigma"):
        checked_interval(wrong)


def test_an_interval_as_a_setting_is_read_again_as_the_same() -> None:
    for interval in ((0.2, 0.85), (0.28, 2.9, "sigma")):
        _, value = parse_override(f"sampling.guidance_interval={interval_as_setting(interval)}")
        assert load_config(overrides={"sampling.guidance_interval": value}).sampling.guidance_interval == interval
