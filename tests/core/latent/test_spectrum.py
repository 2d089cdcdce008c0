from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from core.latent.inspection.spectrum import equivariance, radial_spectrum


def cosine(row: int, column: int, side: int = 16) -> np.ndarray:
    """The DCT's own basis function: all its energy is in one coefficient."""
    places = np.arange(side) + 0.5
    across, down = np.cos(np.pi * column * places / side), np.cos(np.pi * row * places / side)
    return (down[:, None] * across[None])[None, None]


@pytest.mark.parametrize(("row", "column"), [(0, 4), (8, 0), (3, 4), (15, 15)])
def test_a_known_cosine_lands_in_one_bin(row, column):
    found = radial_spectrum(cosine(row, column), bins=8)
    full = int(np.argmax(found.energy))
    width = np.sqrt(2) / 8
    assert found.energy[full] == pytest.approx((cosine(row, column) ** 2).sum())
    assert found.energy.sum() - found.energy[full] == pytest.approx(0.0, abs=1e-9)
    assert abs(found.frequency[full] - np.hypot(row, column) / 16) <= width / 2 + 1e-9


def test_the_bins_sum_to_the_energy_of_the_picture():
    maps = np.random.default_rng(0).standard_normal((5, 3, 8, 12))
    found = radial_spectrum(maps)
    assert found.energy.sum() == pytest.approx((maps**2).sum() / 5)
    assert found.count.sum() == 96


def test_white_noise_has_the_same_power_at_every_frequency_and_a_constant_none_but_its_own():
    noise = np.random.default_rng(0).standard_normal((400, 2, 16, 16))
    power = radial_spectrum(noise, bins=8).power
    assert power == pytest.approx(np.ones(8), abs=0.05)
    assert radial_spectrum(noise).high_share == pytest.approx(radial_spectrum(noise).flat_share, abs=0.01)
    flat = radial_spectrum(np.ones((1, 1, 8, 8)))
    assert flat.constant == pytest.approx(64.0) and flat.high_share == 0.0


def test_the_high_share_is_that_above_half_the_highest_frequency():
    maps = 3.0 + cosine(0, 2) + 0.5 * cosine(0, 12)
    energies = (cosine(0, 2) ** 2).sum(), (0.25 * cosine(0, 12) ** 2).sum()
    assert radial_spectrum(maps).high_share == pytest.approx(energies[1] / sum(energies))


def pictures() -> torch.Tensor:
    return torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def test_the_error_of_an_exactly_equivariant_encoder_is_zero():
    found = equivariance(lambda images: functional.avg_pool2d(images, 4), pictures(), 4)
    exact = [each for each in found if "one pixel" not in each.name]
    assert len(found) == 6 and [each.error for each in exact] == pytest.approx([0.0] * 4, abs=1e-6)


@pytest.mark.parametrize(("name", "axis"), [("shift down, one pixel", 2), ("shift right, one pixel", 3)])
def test_a_mean_over_a_site_follows_a_slope_by_a_pixel(name, axis):
    slope = torch.arange(16.0).view(16, 1) if axis == 2 else torch.arange(16.0).view(1, 16)
    images = slope.expand(1, 1, 16, 16) * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    found = equivariance(lambda images: functional.avg_pool2d(images, 4), images, 4)
    assert next(each for each in found if each.name == name).error == pytest.approx(0.0, abs=1e-6)


def test_an_encoder_of_one_pixel_a_site_has_no_error_at_all():
    found = equivariance(lambda images: images, pictures(), 1)
    assert [each.error for each in found] == [0.0] * 4


def test_the_error_is_that_of_a_direct_computation():
    weights = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))  # depends on the place: not equivariant

    def encode(images: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(images, 4) * weights

    flip = next(each for each in equivariance(encode, pictures(), 4) if each.name == "flip left to right")
    errors = []
    for image in pictures():
        one = encode(image[None].flip(3))
        other = encode(image[None]).flip(3)
        errors.append(float((one - other).norm() / other.norm()))
    assert flip.error == pytest.approx(np.mean(errors), rel=1e-5)
    assert flip.standard_error == pytest.approx(np.std(errors, ddof=1) / 6**0.5, rel=1e-4)


def test_latents_of_unrelated_pictures_differ_by_the_root_of_two():
    found = equivariance(lambda images: images, torch.randn(64, 1, 32, 32), 1)
    assert found[0].unrelated == pytest.approx(2**0.5, abs=0.05)
