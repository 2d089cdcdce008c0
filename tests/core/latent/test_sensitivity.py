from __future__ import annotations

import numpy as np
import pytest
import torch

from core.latent.inspection.sensitivity import GREY_LEVELS, sensitivity

SHAPE = (2, 3, 3)


def linear_decoder() -> tuple[torch.Tensor, object]:
    matrix = torch.randn(64, 18, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def decode(latents: torch.Tensor) -> torch.Tensor:
        return (latents.double().flatten(1) @ matrix.T).reshape(len(latents), 1, 8, 8) + 0.3

    return matrix, decode


def test_the_sensitivity_of_a_linear_decoder_is_its_column_norms():
    matrix, decode = linear_decoder()
    found = sensitivity(decode, torch.randn(5, *SHAPE))
    assert found.num_pictures == 5 and found.stride == 1
    assert found.norms.flatten().tolist() == pytest.approx((matrix.norm(dim=0) * GREY_LEVELS).tolist(), rel=1e-4)
    squares = (matrix.norm(dim=0) * GREY_LEVELS).reshape(SHAPE) ** 2
    assert found.by_channel.tolist() == pytest.approx(squares.mean(dim=(1, 2)).sqrt().tolist(), rel=1e-4)
    assert found.by_site.flatten().tolist() == pytest.approx(squares.sum(dim=0).sqrt().flatten().tolist(), rel=1e-4)


def test_a_decoder_that_ignores_a_channel_is_not_sensitive_to_it():
    found = sensitivity(lambda latents: latents[:, :1].repeat_interleave(2, 2), torch.zeros(1, *SHAPE))
    assert found.by_channel[1] == 0.0 and found.by_channel[0] > 0.0


def test_the_work_is_bounded_for_large_latents():
    decoded = 0

    def decode(latents: torch.Tensor) -> torch.Tensor:
        nonlocal decoded
        decoded += len(latents)
        return latents

    found = sensitivity(decode, torch.zeros(9, 4, 32, 32))
    assert decoded <= 4096 and found.stride == 2 and found.num_pictures == 2
    assert np.isnan(found.norms).mean() == 0.75
    assert found.by_channel.tolist() == pytest.approx([GREY_LEVELS] * 4, rel=1e-4)


@pytest.mark.parametrize("count", [1, 3])
def test_no_more_pictures_than_there_are(count):
    assert sensitivity(lambda latents: latents, torch.zeros(count, 1, 2, 2)).num_pictures == count
