"""A VAE opened for a look inside: the right weights, the right pictures, kept, and refused in one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from core.data.arrays import prepare
from core.errors import LabError
from core.latent.codec import split_moments, to_uint8
from core.latent.inspection.opened_vae import LatentStudy, forget_oldest, open_subject
from core.latent.inspection.vae_source import find_subject, held_out
from core.runs.run import Run
from core.runs.store import RunStore
from core.training import train_unet, train_vae
from tests.pages.run_folders import make_run, tiny_settings

TINY = {
    "vae.block_out_channels": [8, 8],
    "unet.block_out_channels": [8, 16],
    "train_vae.steps": 4,
    "train_unet.steps": 2,
    "train_vae.batch_size": 8,
    "train_unet.batch_size": 8,
    "logging.num_previews": 2,
    "logging.preview_images": 2,
    "logging.preview_inference_steps": 2,
    "logging.validation_images": 16,
    "logging.save_every_steps": 2,
    "sampling.num_inference_steps": 2,
    "machine.device": "cpu",
    "machine.num_threads": 1,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    store = RunStore(root / "runs")
    folders: dict[str, Any] = {"data_dir": root / "data", "cache_dir": root / "cache", "store_root": store.root}
    vae = store.create("vae", tiny_settings(**TINY), name="encoder")
    train_vae.train(vae, should_stop=lambda: False, **folders)
    unet = store.create("unet", tiny_settings(**TINY), name="drawer", parents=(vae.id,))
    train_unet.train(unet, should_stop=lambda: False, **folders)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "lab")
    return tmp_path / "lab"


def run_of(root: Path, kind: str) -> Run:
    return next(run for run in RunStore(root / "runs").list() if run.info.kind == kind)


def open_it(root: Path, kind: str = "vae", **options: Any) -> LatentStudy:
    data_dir, cache_dir = root / "data", root / "cache"
    subject = find_subject(run_of(root, kind), data_dir=data_dir, cache_dir=cache_dir, **options)
    return open_subject(subject, device="cpu", cache_dir=cache_dir)


@pytest.mark.slow
def test_a_study_holds_the_posterior_of_every_held_out_picture(root: Path) -> None:
    study = open_it(root)
    images = prepare(run_of(root, "vae").settings.data, data_dir=root / "data", cache_dir=root / "cache")
    assert np.array_equal(study.images, images.heldout.images)
    assert study.fingerprint == images.fingerprint
    pixels = torch.from_numpy(np.array(study.images[:3])).permute(0, 3, 1, 2).float() / 127.5 - 1
    posterior = study.codec.vae.encode(pixels).latent_dist
    np.testing.assert_allclose(study.mean[:3], posterior.mean.numpy(), atol=1e-5)
    np.testing.assert_allclose(study.std[:3], posterior.std.numpy(), rtol=1e-4)
    direct = to_uint8(study.codec.decode(study.codec.encode(pixels)))
    assert one_level_at_most(study.decode(study.latents[:3]), direct)


def one_level_at_most(first: np.ndarray, second: np.ndarray) -> bool:
    """Pictures agree up to rounding: a convolution's last digits depend on the batch and on the processor."""
    return int(np.abs(first.astype(int) - second.astype(int)).max()) <= 1


def test_the_measured_scaling_gives_posterior_samples_unit_variance(root: Path) -> None:
    study = open_it(root)
    mean, std = split_moments(torch.from_numpy(np.array(study.moments)))
    sample = mean + std * torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    latents = study.codec.scaling.normalize(sample)
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.05
    assert (latents.std(dim=(0, 2, 3)) - 1).abs().max() < 0.05


def test_a_u_net_run_is_looked_at_through_its_own_copy_and_scaling(root: Path) -> None:
    study, unet = open_it(root, "unet"), run_of(root, "unet")
    facts = json.loads((unet.vae_dir / "codec.json").read_text())
    assert list(study.codec.scaling.shift) == facts["shift"]
    assert study.vae_hash == facts["sha256"] == open_it(root).vae_hash


def test_each_checkpoint_and_kind_of_weights_is_another_vae(root: Path) -> None:
    studies = [open_it(root, step=step, weights=weights) for step in (2, 4) for weights in ("ema", "raw")]
    assert [(study.step, study.weights) for study in studies] == [(2, "ema"), (2, "raw"), (4, "ema"), (4, "raw")]
    assert len({study.vae_hash for study in studies}) == 4
    assert len({float(study.moments.sum()) for study in studies}) == 4


def test_what_was_encoded_is_not_encoded_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_it(root, limit=20)
    monkeypatch.setattr(AutoencoderKL, "encode", lambda *_, **__: pytest.fail("encoded again"))
    again = open_it(root, limit=20)
    assert np.array_equal(first.moments, again.moments)
    assert len(again.labels) == 20


def test_a_limit_takes_the_same_pictures_every_time() -> None:
    assert held_out(10, 10) is None
    first, second = held_out(1000, 10), held_out(1000, 10)
    assert first is not None and second is not None
    assert np.array_equal(first, second)
    assert len(np.unique(first)) == 10


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("vae", {"step": 3}, "no checkpoint of step 3; kept are 2, 4"),
        ("unet", {"step": 3}, "its VAE is of step 4, not of 3"),
    ],
)
def test_a_step_that_is_not_there_is_one_sentence(root: Path, kind: str, options: dict[str, int], words: str) -> None:
    with pytest.raises(LabError, match=words):
        open_it(root, kind, **options)


@pytest.mark.parametrize(
    ("kind", "file", "words"),
    [
        ("vae", "checkpoints/step-00000004/vae_ema/diffusion_pytorch_model.safetensors", "was altered"),
        ("vae", "data.json", "data.json cannot be read"),
        ("unet", "vae/codec.json", "codec.json of its VAE cannot be read"),
        ("unet", "vae/diffusion_pytorch_model.safetensors", "were altered"),
    ],
)
def test_a_damaged_file_is_one_sentence(root: Path, kind: str, file: str, words: str) -> None:
    path = run_of(root, kind).folder / file
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(LabError, match=words):
        open_it(root, kind, step=4 if kind == "vae" else None)


def test_a_codec_that_scales_another_number_of_channels_is_refused(root: Path) -> None:
    path = run_of(root, "unet").vae_dir / "codec.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "shift": [0.0], "scale": [1.0]}))
    with pytest.raises(LabError, match="scales 1 channels"):
        open_it(root, "unet")


def test_a_run_without_a_checkpoint_and_other_pictures_are_one_sentence(root: Path, tmp_path: Path) -> None:
    run = make_run(RunStore(tmp_path / "runs"), "vae")
    with pytest.raises(LabError, match="has no checkpoint yet"):
        find_subject(run, data_dir=root, cache_dir=root / "cache")
    facts = run_of(root, "vae").data_path
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "fingerprint": "0" * 64}))
    with pytest.raises(LabError, match="the dataset has changed"):
        open_it(root)


def test_the_cache_is_bounded_and_forgets_only_held_out_entries(tmp_path: Path) -> None:
    for name in ("a-heldout-1", "b-heldout-1", "c-heldout-1", "training"):
        (tmp_path / "latents" / name).mkdir(parents=True)
        (tmp_path / "latents" / name / "moments.npy").write_bytes(bytes(100))
    forget_oldest(tmp_path, keep="a-heldout-1", most_bytes=150)
    left = {path.name for path in (tmp_path / "latents").iterdir()}
    assert {"a-heldout-1", "training"} == left
