"""Scaling: zero mean and unit variance a channel over the training set; the cache: whole or not at all."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from core.config.schema import VaeSettings
from core.errors import CheckpointError
from core.latent.cache import cached_latents, measure_scaling
from core.latent.codec import LatentScaling, split_moments
from core.models.vae import build_vae
from core.runs.run import Run
from core.sampling.load import load_model


def moments(count: int = 4000) -> np.ndarray:
    source = np.random.default_rng(0)
    mean = source.normal(loc=[[[[3.0]], [[-2.0]]]], scale=[[[[0.5]], [[4.0]]]], size=(count, 2, 4, 4))
    log_variance = np.broadcast_to(np.log(np.array([0.75, 9.0]))[:, None, None], (count, 2, 4, 4))
    return np.concatenate([mean, log_variance], axis=1).astype(np.float32)


def test_scaling_is_that_of_a_posterior_sample() -> None:
    scaling = measure_scaling(moments(), chunk=700)
    assert scaling.shift == pytest.approx((3.0, -2.0), abs=0.02)
    assert [1 / value for value in scaling.scale] == pytest.approx([1.0, 5.0], rel=0.01)


def test_sampled_latents_have_zero_mean_and_unit_variance_a_channel() -> None:
    mean, std = split_moments(torch.from_numpy(moments()))
    latents = measure_scaling(moments()).normalize(mean + std * torch.randn(mean.shape))
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.02
    assert (latents.std(dim=(0, 2, 3)) - 1).abs().max() < 0.02


def test_denormalizing_undoes_normalizing() -> None:
    scaling = LatentScaling(shift=(1.0, -7.0), scale=(3.0, 0.01))
    raw = torch.randn(5, 2, 4, 4)
    assert torch.allclose(scaling.denormalize(scaling.normalize(raw)), raw, atol=1e-5)


@pytest.fixture
def vae() -> object:
    torch.manual_seed(0)
    settings = VaeSettings(block_out_channels=(8, 8), latent_channels=2)
    return build_vae(settings, channels=1, image_size=16).eval()


IMAGES = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 1), dtype=np.uint8)


def test_cached_moments_are_the_vaes(vae: object, tmp_path: Path) -> None:
    found = cached_latents(vae, IMAGES, key="k", cache_dir=tmp_path, batch_size=4)  # type: ignore[arg-type]
    assert found is not None
    pictures = torch.from_numpy(IMAGES.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = vae.encode(pictures).latent_dist.parameters  # type: ignore[attr-defined]
    assert np.allclose(found.moments, expected.numpy(), atol=1e-4)


def test_latents_of_half_precision_are_an_entry_of_their_own(vae: object, tmp_path: Path) -> None:
    exact, half = (
        cached_latents(vae, IMAGES, key="k", cache_dir=tmp_path, dtype=dtype)  # type: ignore[arg-type]
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert exact is not None and half is not None
    assert half.moments.dtype == np.float32
    assert not np.array_equal(half.moments, exact.moments)
    assert np.allclose(half.moments, exact.moments, atol=0.1 * exact.moments.std())
    assert len(list((tmp_path / "latents").iterdir())) == 2


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("moments.npy", b"x"),
        ("latents.json", b"{"),
        ("latents.json", b"[]"),
        ("latents.json", b"[" * 100_000),
        ("latents.json", b'{"count": 10, "shift": 3, "scale": 4}'),
    ],
)
def test_a_damaged_entry_is_encoded_again(vae: object, tmp_path: Path, file: str, content: bytes) -> None:
    first = cached_latents(vae, IMAGES, key="k", cache_dir=tmp_path)  # type: ignore[arg-type]
    expected = np.array(first.moments)  # type: ignore[union-attr]
    del first
    (tmp_path / "latents" / "k" / file).write_bytes(content)
    again = cached_latents(vae, IMAGES, key="k", cache_dir=tmp_path)  # type: ignore[arg-type]
    assert again is not None and np.array_equal(again.moments, expected)


def test_moments_that_were_altered_are_encoded_again(vae: object, tmp_path: Path) -> None:
    first = cached_latents(vae, IMAGES, key="k", cache_dir=tmp_path)  # type: ignore[arg-type]
    expected = np.array(first.moments)  # type: ignore[union-attr]
    del first
    file = tmp_path / "latents" / "k" / "moments.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    again = cached_latents(vae, IMAGES, key="k", cache_dir=tmp_path)  # type: ignore[arg-type]
    assert again is not None and np.array_equal(again.moments, expected)


def test_a_vae_that_gives_no_numbers_is_one_sentence_and_leaves_nothing(vae: object, tmp_path: Path) -> None:
    broken = copy.deepcopy(vae)
    broken.encoder.conv_out.weight.data *= float("nan")  # type: ignore[attr-defined]
    with pytest.raises(CheckpointError, match="latents: the VAE returns values that are not finite numbers"):
        cached_latents(broken, IMAGES, key="k", cache_dir=tmp_path)  # type: ignore[arg-type]
    assert list((tmp_path / "latents").iterdir()) == []


def test_stopping_while_encoding_leaves_nothing(vae: object, tmp_path: Path) -> None:
    found = cached_latents(vae, IMAGES, key="k", cache_dir=tmp_path, should_stop=lambda: True)  # type: ignore[arg-type]
    assert found is None
    assert list((tmp_path / "latents").iterdir()) == []


def test_a_real_runs_codec_reconstructs_what_it_encodes(trained: Run) -> None:
    codec = load_model(trained, device="cpu").codec
    pictures = torch.rand(3, 1, 16, 16) * 2 - 1
    latents = codec.encode(pictures)
    assert latents.shape == (3, 4, 8, 8)
    with torch.no_grad():
        direct = codec.vae.decode(codec.vae.encode(pictures).latent_dist.mean).sample
    assert torch.allclose(codec.decode(latents), direct, atol=1e-4)
