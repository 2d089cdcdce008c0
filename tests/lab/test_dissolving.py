"""Noised pictures and latents of the Schedulers page: against direct computation, and decoded once."""

from __future__ import annotations

import numpy as np
import pytest
import streamlit as st
import torch

from core.config.schema import DiffusionSettings
from core.diffusion.schedule import build_schedule
from lab.schedulers import dissolving_service
from lab.schedulers.dissolving_service import (
    LEVELS,
    Pictures,
    decode_ahead,
    level_weights,
    noise_levels,
    noised,
    noised_latents,
    times,
)
from lab.schedulers.schedule_service import Spec, table

SPECS = [Spec(label=name, schedule=name) for name in ("cosine", "linear", "sigmoid", "flow")]


class Codec:
    """Latents are the pixels of a grey picture; what is decoded is counted."""

    decoded = 0

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def decode_to_uint8(self, latents: torch.Tensor) -> np.ndarray:
        self.decoded += len(latents)
        return ((latents.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> Codec:
    found = Codec()
    monkeypatch.setattr(dissolving_service, "codec_of", lambda run_id: found)
    st.cache_resource.clear()
    return found


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.label)
def test_pixels_are_noised_as_training_noises_them(spec: Spec, images: np.ndarray) -> None:
    prediction = "flow" if spec.is_flow else "v_prediction"
    schedule = build_schedule(
        DiffusionSettings.model_validate({"schedule": spec.schedule, "prediction_type": prediction})
    )
    clean = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    noise = torch.randn(8, 8, 1, generator=torch.Generator().manual_seed(0)).permute(2, 0, 1)
    for frame, t in zip(noised(spec, images), times(spec), strict=True):
        direct = schedule.add_noise(clean, noise.expand(3, 1, 8, 8), torch.full((3,), int(t)))
        direct = (direct.clamp(-1, 1) + 1) * 127.5
        np.testing.assert_allclose(frame, direct.permute(0, 2, 3, 1).numpy(), atol=0.51)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.label)
def test_decoded_levels_are_the_schedules_own_within_a_degree(spec: Spec) -> None:
    at = times(spec)
    signal, noise = table(spec)["signal_scale"][at], table(spec)["noise_scale"][at]
    weights = [level_weights(level, is_flow=spec.is_flow) for level in noise_levels(spec)]
    np.testing.assert_allclose(np.array(weights), np.stack([signal, noise], axis=1), atol=0.018)


def test_a_latent_is_decoded_once_a_level_whatever_asks_for_it(codec: Codec, images: np.ndarray) -> None:
    first = noised_latents(SPECS[0], "run", (0, 1), images[:2])
    assert first.shape == (len(times(SPECS[0])), 2, 8, 8, 1)
    before = codec.decoded
    assert np.array_equal(noised_latents(SPECS[0], "run", (1,), images[1:2])[:, 0], first[:, 1])
    assert codec.decoded == before
    for schedule in ("linear", "sigmoid", "scaled_linear"):
        noised_latents(Spec(label="", schedule=schedule), "run", (0, 1), images[:2])
    assert codec.decoded <= 2 * LEVELS
    noised_latents(SPECS[-1], "run", (0,), images[:1])  # a straight line: other levels
    assert codec.decoded > before


def test_the_ends_are_the_picture_and_the_noise(codec: Codec, images: np.ndarray) -> None:
    frames = noised_latents(SPECS[-1], "run", (0, 2), images[[0, 2]])
    assert np.array_equal(frames[0], images[[0, 2]])
    assert np.array_equal(frames[-1][0], frames[-1][1])  # one noise for all


def test_what_was_decoded_ahead_is_not_decoded_again(codec: Codec, images: np.ndarray) -> None:
    direct = noised_latents(SPECS[1], "run", (2,), images[2:])
    st.cache_resource.clear()
    pictures = Pictures(title="grey", images=images, names=("a", "b", "c"))
    thread = decode_ahead("run", pictures)
    assert thread is not None
    thread.join()
    before = codec.decoded
    assert before >= 3 * 2 * LEVELS
    for spec in SPECS:
        noised_latents(spec, "run", (0, 1, 2), images)
    assert codec.decoded == before
    assert np.array_equal(noised_latents(SPECS[1], "run", (2,), images[2:]), direct)


def test_large_pictures_are_not_decoded_ahead(codec: Codec) -> None:
    large = np.zeros((1, 128, 128, 3), np.uint8)
    assert decode_ahead("large", Pictures(title="large", images=large, names=("a",))) is None
    assert codec.decoded == 0
