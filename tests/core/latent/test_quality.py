"""PSNR and SSIM against scikit-image and torchmetrics; an overview that is kept, read without PyTorch, and judged."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from core.latent.inspection.opened_vae import LatentStudy, open_subject
from core.latent.inspection.overview import LatentOverview, read_overview
from core.latent.inspection.psnr_ssim import picture_psnr, squared_error, ssim_of
from core.latent.inspection.quality import make_overview, reconstruct
from core.latent.inspection.vae_source import LatentSubject, find_subject
from core.latent.inspection.verdict import UNSCALED_DEVIATION, judge, span
from tests.core.latent.test_study import made, root, run_of  # noqa: F401


def pictures(channels: int, size: tuple[int, int] = (20, 14)) -> tuple[np.ndarray, np.ndarray]:
    source = np.random.default_rng(channels)
    first = source.integers(0, 256, (6, *size, channels), dtype=np.uint8)
    second = np.clip(first + source.normal(0, 40, first.shape) * np.arange(6)[:, None, None, None], 0, 255)
    return first, second.astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_of_each_picture_is_that_of_scikit_image(channels: int) -> None:
    first, second = pictures(channels)
    found = picture_psnr(first, second)
    assert found[0] == 100.0
    expected = [peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(first[1:], second[1:], strict=True)]
    np.testing.assert_allclose(found[1:], expected, rtol=1e-9)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_of_each_picture_is_that_of_scikit_image_and_torchmetrics(channels: int) -> None:
    first, second = pictures(channels)
    expected = [
        structural_similarity(
            a, b, data_range=255, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for a, b in zip(first, second, strict=True)
    ]
    found = ssim_of(first, second)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    tensors = [torch.from_numpy(each).permute(0, 3, 1, 2).double() for each in (second, first)]
    _, each = structural_similarity_index_measure(
        *tensors, data_range=255.0, reduction="none", return_full_image=True
    )  # torchmetrics' own mean counts the mirrored border too
    inside = torch.as_tensor(each)[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))
    np.testing.assert_allclose(found, inside.numpy(), atol=1e-6)


def test_pictures_smaller_than_the_window_have_no_ssim() -> None:
    assert np.isnan(ssim_of(*pictures(1, (10, 20)))).all()


def subject_of(root: Path, kind: str = "vae", **options: Any) -> LatentSubject:  # noqa: F811
    return find_subject(run_of(root, kind), data_dir=root / "data", cache_dir=root / "cache", **options)


@pytest.fixture
def overview(root: Path) -> LatentOverview:  # noqa: F811
    about = subject_of(root, "unet")
    study = open_subject(about, device="cpu", cache_dir=root / "cache")
    return make_overview(about, study, root / "cache")


@pytest.mark.slow
def test_an_overview_holds_every_reconstruction_with_its_error(root: Path, overview: LatentOverview) -> None:  # noqa: F811
    study = open_subject(overview.subject, device="cpu", cache_dir=root / "cache")
    np.testing.assert_array_equal(overview.reconstructions[:5], reconstruct(study, study.mean[:5]))
    np.testing.assert_allclose(overview.squared_error, squared_error(overview.images, overview.reconstructions))
    assert overview.psnr == pytest.approx(picture_psnr(overview.images, overview.reconstructions).mean())
    worst = overview.worst(3)
    assert overview.squared_error[worst[0]] == overview.squared_error.max()
    assert len(overview.by_class()) == 10
    assert sum(row[1] for row in overview.by_class()) == len(overview.labels) == 179


def test_what_was_kept_is_what_was_made(root: Path, overview: LatentOverview) -> None:  # noqa: F811
    again = read_overview(subject_of(root, "unet"), root / "cache")
    assert again is not None
    assert judge(again) == judge(overview)
    np.testing.assert_array_equal(again.histograms, overview.histograms)


@pytest.mark.parametrize("file", ["reconstructions.npy", "squared_error.npy", "overview.json"])
def test_a_damaged_overview_is_made_again(root: Path, overview: LatentOverview, file: str) -> None:  # noqa: F811
    path = root / "cache" / "studies" / overview.subject.key / file
    path.write_bytes(path.read_bytes()[:50])
    assert read_overview(overview.subject, root / "cache") is None
    study = open_subject(overview.subject, device="cpu", cache_dir=root / "cache")
    assert make_overview(overview.subject, study, root / "cache").psnr == overview.psnr


def test_maps_are_those_the_u_net_gets(root: Path, overview: LatentOverview) -> None:  # noqa: F811
    study: LatentStudy = open_subject(overview.subject, device="cpu", cache_dir=root / "cache")
    chosen = np.array([3, 1])
    np.testing.assert_allclose(overview.maps(chosen, scaled=True)[0], study.latents[chosen], atol=1e-5)
    np.testing.assert_array_equal(overview.maps(chosen, scaled=False)[0], study.mean[chosen])


def planted(overview: LatentOverview, **changes: Any) -> LatentOverview:
    """A good VAE, but for what is changed about its statistics."""
    ones = np.ones(overview.raw.num_channels)
    good = {"mean": 0 * ones, "deviation": ones, "kl": 50 * ones, "active": ones.astype(int) * overview.raw.units}
    explained = changes.pop("explained", 0.97)
    raw = dataclasses.replace(overview.raw, **{**good, **changes})
    about = dataclasses.replace(overview.subject, scaling=((0.0,) * len(ones), (1.0,) * len(ones)))
    return dataclasses.replace(overview, subject=about, raw=raw, explained=explained)


@pytest.mark.parametrize(
    ("changes", "word", "says"),
    [
        ({}, "good", "the scaling in use fits the schedule"),
        ({"explained": 0.01, "active": np.zeros(4, dtype=int)}, "collapsed", "lower KL weight"),
        ({"explained": 0.01}, "collapsed", "same, although its latents differ. Train longer"),
        ({"active": np.array([16, 0, 16, 0])}, "partly collapsed", "Channels 2, 4 of 4 carry nothing"),
        ({"explained": 0.5}, "blurred", "Only 50%"),
        ({"deviation": np.full(4, 5.49)}, "unscaled", "up to 30.1 times"),
        ({"deviation": np.full(4, 0.1)}, "unscaled", "up to 100 times"),
        ({"mean": np.array([0.0, 0.0, 0.9, 0.0])}, "unscaled", "a mean up to 0.90"),
    ],
)
def test_planted_faults_are_told_apart(overview: LatentOverview, changes: dict[str, Any], word: str, says: str) -> None:
    verdict = judge(planted(overview, **changes))
    assert verdict.word == word
    assert says in verdict.sentence


def test_a_vae_whose_latents_are_wider_and_not_scaled_is_unscaled(root: Path) -> None:  # noqa: F811
    """The same function, latents 5.49 times as wide (what Stable Diffusion's are before its scaling factor)."""
    import hashlib

    from safetensors.torch import load, save

    folder = run_of(root, "unet").vae_dir
    weights, factor = load((folder / "diffusion_pytorch_model.safetensors").read_bytes()), 40.0
    half = len(weights["quant_conv.bias"]) // 2
    weights["quant_conv.weight"][:half] *= factor
    weights["quant_conv.bias"][:half] *= factor
    weights["quant_conv.bias"][half:] += 2 * math.log(factor)
    weights["post_quant_conv.weight"] /= factor
    data = save(weights)
    before = subject_of(root, "unet")
    plain = make_overview(before, open_subject(before, device="cpu", cache_dir=root / "cache"), root / "cache")
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(data)
    codec = json.loads((folder / "codec.json").read_text())
    codec.update(sha256=hashlib.sha256(data).hexdigest(), shift=[0.0] * half, scale=[1.0] * half)
    (folder / "codec.json").write_text(json.dumps(codec))
    about = subject_of(root, "unet")
    wide = make_overview(about, open_subject(about, device="cpu", cache_dir=root / "cache"), root / "cache")
    assert wide.psnr == pytest.approx(plain.psnr, abs=0.05)
    np.testing.assert_allclose(wide.scaled.deviation, factor * plain.raw.deviation, rtol=1e-3)
    active = np.full(half, wide.raw.units)  # a VAE of a few steps has collapsed: take what is said of that away
    trained = dataclasses.replace(wide, explained=0.97, raw=dataclasses.replace(wide.raw, active=active))
    verdict = judge(trained)
    assert verdict.word == "unscaled"
    assert verdict.deviation[1] > UNSCALED_DEVIATION
    shift, scale = wide.measured_scaling
    fits = dataclasses.replace(wide.subject, scaling=(tuple(shift.tolist()), tuple(scale.tolist())))
    assert judge(dataclasses.replace(trained, subject=fits)).word == "good"


def test_a_span_is_written_once_where_both_ends_read_the_same() -> None:
    assert span((0.9999, 1.0001)) == "1.00"
    assert span((0.85, 12.5)) == "0.85 to 12.5"
