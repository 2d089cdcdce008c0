from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from core.config.schema import DiffusionSettings
from core.diffusion.schedule import build_schedule
from core.latent.codec import LatentCodec, LatentScaling, to_uint8
from core.latent.inspection.decoder_results import Survival
from core.latent.inspection.psnr_ssim import picture_psnr
from core.latent.inspection.survival import first_below, last_above, noisy_pictures, survival


class Mirror:
    """A decoder that draws the latents themselves."""

    def decode(self, latents: torch.Tensor) -> Any:
        return type("Decoded", (), {"sample": latents})


CODEC = LatentCodec(vae=Mirror(), scaling=LatentScaling(shift=(0.0,), scale=(1.0,)))  # type: ignore[arg-type]
LATENTS = torch.rand(12, 1, 6, 6, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
IMAGES = to_uint8(LATENTS + 0.05)
SCHEDULES = {
    name: build_schedule(DiffusionSettings(schedule=name, **more))
    for name, more in (("linear", {"prediction_type": "epsilon"}), ("flow", {"prediction_type": "flow"}))
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_without_noise_it_is_the_reconstruction(name):
    clean = next(iter(noisy_pictures(CODEC, LATENTS, SCHEDULES[name], [0, 999])))
    assert (clean.t, clean.noise_scale) == (-1, 0.0)
    assert np.array_equal(clean.pictures, CODEC.decode_to_uint8(LATENTS))
    found = survival(CODEC, LATENTS, IMAGES, SCHEDULES[name], [0, 999])
    assert found.psnr[0] == pytest.approx(picture_psnr(IMAGES, CODEC.decode_to_uint8(LATENTS)).mean())
    assert found.psnr[0] > found.psnr[1] - 0.5 > found.psnr[2]


def test_no_more_than_64_pictures_are_in_the_decoder_at_once(monkeypatch):
    sizes, decode = [], Mirror.decode

    def counted(self: Mirror, latents: torch.Tensor) -> Any:
        sizes.append(len(latents))
        return decode(self, latents)

    monkeypatch.setattr(Mirror, "decode", counted)
    many = LATENTS.repeat(12, 1, 1, 1)
    steps = list(noisy_pictures(CODEC, many, SCHEDULES["linear"], [300]))
    assert sizes == [64, 64, 16] * 2
    assert [len(step.pictures) for step in steps] == [144, 144]
    assert np.array_equal(steps[0].pictures, to_uint8(many))


@pytest.mark.parametrize("name", SCHEDULES)
def test_at_t_it_is_the_schedule_s_mixture_of_signal_and_noise(name):
    schedule = SCHEDULES[name]
    steps = list(noisy_pictures(CODEC, LATENTS, schedule, [300, 700]))
    noise = [
        (torch.from_numpy(step.pictures.squeeze(-1) / 127.5 - 1) - step.signal_scale * LATENTS[:, 0].numpy())
        / step.noise_scale
        for step in steps[1:]
    ]
    inside = (steps[1].pictures.squeeze(-1) % 255 > 0) & (steps[2].pictures.squeeze(-1) % 255 > 0)
    assert noise[0][inside].numpy() == pytest.approx(noise[1][inside].numpy(), abs=0.05)  # the same noise at every t
    assert steps[1].signal_scale == pytest.approx(float(schedule.signal_scale[300]))


def test_accuracy_is_what_the_judge_says_of_the_noisy_pictures():
    labels = np.arange(12) % 2

    def classify(pictures: np.ndarray) -> np.ndarray:
        right = np.eye(2)[labels] if np.array_equal(pictures, CODEC.decode_to_uint8(LATENTS)) else np.eye(2)[1 - labels]
        right[0] = 1 - right[0]
        return right

    found = survival(CODEC, LATENTS, IMAGES, SCHEDULES["linear"], [500], labels=labels, classify=classify)
    assert found.accuracy == pytest.approx((11 / 12, 1 / 12))
    assert survival(CODEC, LATENTS, IMAGES, SCHEDULES["linear"], [500]).accuracy == ()


def test_psnr_is_the_direct_computation_and_finite_for_equal_pictures():
    first = np.zeros((2, 2, 2, 1), dtype=np.uint8)
    second = first.copy()
    second[1] = 51  # a fifth of the range everywhere
    assert picture_psnr(first, second) == pytest.approx([100.0, 10 * np.log10(25)])


@pytest.mark.parametrize(
    ("values", "last", "first"),
    [
        ((0.99, 0.98, 0.97, 0.2, 0.1), 100, 500),
        ((0.99, 0.5, 0.97, 0.9, 0.9), -1, None),
        ((0.3, 0.2, 0.97, 0.2, 0.97), None, None),
        ((0.1, 0.1, 0.1, 0.1, 0.1), None, -1),
    ],
)
def test_thresholds_are_of_an_unbroken_stretch(values, last, first):
    found = Survival(
        schedule="linear",
        num_train_timesteps=1000,
        num_pictures=1,
        num_classes=2,
        t=(-1, 0, 100, 500, 900),
        signal_scale=(1,) * 5,
        noise_scale=(0,) * 5,
        psnr=values,
        psnr_error=(0,) * 5,
    )
    assert last_above(found, found.psnr, 0.95) == last
    assert first_below(found, found.psnr, 0.25) == first
