"""Noised images and latents of the Schedulers page: against direct computation, and decoded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.compute.answers import dissolving, schedules
from core.compute.wire import HungUp
from core.config.schema import DataSettings, DiffusionSettings
from core.config.site import SiteSettings
from core.data.one_per_class import MOST
from core.diffusion.noise_levels import LEVELS, level_weights, nearest_levels
from core.diffusion.schedule import build_schedule
from core.errors import DataUnavailable

NAMES = ("cosine", "linear", "sigmoid", "flow")
FRAMES = np.linspace(0, 999, 5).round().astype(int)
SITE = SiteSettings()


class Listener:
    """Hangs up after so many looks."""

    def __init__(self, most: int = 10**6) -> None:
        self.most, self.told = most, 0

    def __call__(self, stage: str, fraction: float, look: Any = None) -> None:
        if self.told == self.most:
            raise HungUp
        self.told += 1

    def is_cancelled(self) -> bool:
        return self.told == self.most


class Codec:
    """Latents are the pixels of a grey image; what is decoded is counted."""

    decoded = 0

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def decode_to_uint8(self, latents: torch.Tensor) -> np.ndarray:
        self.decoded += len(latents)
        return ((latents.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> Codec:
    found = Codec()

    def codec_of(run_id: str, site: SiteSettings) -> dissolving.RunCodec:
        return dissolving.RunCodec(key=(run_id, (0, 0, 0)), codec=found)  # type: ignore[arg-type]

    monkeypatch.setattr(dissolving, "codec_of", codec_of)
    dissolving.decoded.clear()
    return found


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)


def settings(name: str) -> DiffusionSettings:
    prediction = "flow" if name == "flow" else "v_prediction"
    return DiffusionSettings.model_validate({"schedule": name, "prediction_type": prediction})


def weights(name: str) -> np.ndarray:
    table = schedules.schedule_table(Listener(), settings(name))
    return np.stack([table["signal_scale"], table["noise_scale"]], axis=1)[FRAMES]


def shown(names: Sequence[str], images: np.ndarray, run: str = "run") -> np.ndarray:
    levels = [(name == "flow", nearest_levels(*weights(name).T).tolist()) for name in names]
    return dissolving.noised_latents(Listener(), run, levels, images, SITE)


def test_pixels_are_noised_as_training_noises_them(images: np.ndarray) -> None:
    clean = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    noise = torch.randn(8, 8, 1, generator=torch.Generator().manual_seed(0)).permute(2, 0, 1)
    found = schedules.noised_images(Listener(), np.stack([weights(name) for name in NAMES]), images)
    assert found.shape == (len(FRAMES), len(NAMES) * 3, 8, 8, 1) and found.dtype == np.uint8
    for place, name in enumerate(NAMES):
        schedule = build_schedule(settings(name))
        for frame, t in zip(found[:, 3 * place : 3 * place + 3], FRAMES, strict=True):
            direct = schedule.add_noise(clean, noise.expand(3, 1, 8, 8), torch.full((3,), int(t)))
            direct = (direct.clamp(-1, 1) + 1) * 127.5
            np.testing.assert_allclose(frame, direct.permute(0, 2, 3, 1).numpy(), atol=0.51)


@pytest.mark.parametrize("name", NAMES)
def test_levels_are_the_schedules_own_within_a_degree(name: str) -> None:
    own = weights(name)
    found = [level_weights(level, is_flow=name == "flow") for level in nearest_levels(*own.T)]
    np.testing.assert_allclose(np.array(found), own, atol=0.018)


def test_a_latent_is_decoded_once_a_level_whatever_asks_for_it(codec: Codec, images: np.ndarray) -> None:
    first = shown(["cosine"], images[:2])
    assert first.shape == (len(FRAMES), 2, 8, 8, 1)
    before = codec.decoded
    assert np.array_equal(shown(["cosine"], images[1:2])[:, 0], first[:, 1])
    assert codec.decoded == before
    both = shown(["linear", "cosine"], images[:2])
    assert np.array_equal(both[:, 2:], first)
    assert codec.decoded <= 2 * LEVELS
    shown(["flow"], images[:1])  # a straight line: other levels
    assert codec.decoded > before


def test_another_vae_or_image_shares_nothing(codec: Codec, images: np.ndarray) -> None:
    shown(["cosine"], images[:1])
    before = codec.decoded
    shown(["cosine"], images[:1], run="other")
    assert codec.decoded == 2 * before
    assert not np.array_equal(shown(["cosine"], images[1:2]), shown(["cosine"], images[:1]))


def test_the_ends_are_the_picture_and_the_noise(codec: Codec, images: np.ndarray) -> None:
    frames = shown(["flow"], images[[0, 2]])
    assert np.array_equal(frames[0], images[[0, 2]])
    assert np.array_equal(frames[-1][0], frames[-1][1])  # one noise for all


def test_what_was_decoded_ahead_is_not_decoded_again(codec: Codec, images: np.ndarray) -> None:
    direct = shown(["linear"], images[2:])
    dissolving.decoded.clear()
    codec.decoded = 0
    dissolving.decode_ahead(Listener(), "run", images, SITE)
    assert codec.decoded == 3 * 2 * LEVELS
    assert np.array_equal(shown(["linear"], images[2:]), direct)
    shown(NAMES, images)
    dissolving.decode_ahead(Listener(), "run", images, SITE)
    assert codec.decoded == 3 * 2 * LEVELS


def test_decoding_ahead_ends_with_whoever_asked(codec: Codec, images: np.ndarray) -> None:
    with pytest.raises(HungUp):
        dissolving.decode_ahead(Listener(most=2), "run", images, SITE)
    assert codec.decoded == 2 * LEVELS


def test_an_image_of_each_class_is_held_out(tmp_path: Path) -> None:
    site = SiteSettings(data=tmp_path / "data", cache=tmp_path / "cache")
    found = schedules.class_images(Listener(), DataSettings(name="digits"), site)
    assert found.names == tuple("0123456789") and found.images.shape[0] == MOST
    with pytest.raises(DataUnavailable):
        schedules.class_images(Listener(), DataSettings(name="mnist", download=True), site)
