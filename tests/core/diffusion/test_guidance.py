"""Guidance against direct computation: scale, rescale, interval."""

from __future__ import annotations

import pytest
import torch

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
    assert Guidance(scale=4.0, interval=(0.2, 0.8)).scale_at(level) == scale
