"""Plain diffusers folders of many kinds draw what diffusers draws; `python -m benchmarks.foreign_models` tries all."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DModel
from safetensors.torch import load, load_file, save_file

from benchmarks.foreign_models import CASES, TOLERANCE, Case, diffusers_pictures, make, our_pictures, request_of
from core.diffusion.samplers import build_sampler
from core.model_folders import diffusers_layout
from core.model_folders.diffusers_layout import UNET_WEIGHTS, VAE_WEIGHTS
from core.model_folders.model_files import ModelRefused
from core.model_folders.model_folder import load_model_folder
from core.model_folders.weight_files import with_whole_weights
from core.sampling.request import SampleRequest
from core.sampling.steps import sample

SAMPLE = (
    "U-Net, DDIM, zero terminal SNR, betas of its own",
    "U-Net, Euler, linspace",
    "U-Net, DPM++, trained betas",
    "DiT, DDPM, linspace, missing keys",
    "DiT, flow matching by Euler, shift 2",
)


@pytest.mark.parametrize(
    "name", [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_a_folder_of_others_draws_what_diffusers_draws(name: str, tmp_path: Path) -> None:
    case, kept = CASES[name], tmp_path / "kept"
    kept.mkdir()
    folder, request = make(case, tmp_path / "given"), request_of(case)
    ours = our_pictures(folder, kept, request)
    assert np.abs(ours - diffusers_pictures(case, folder, request)).max() < TOLERANCE
    model = load_model_folder(kept / "model", device="cpu")
    again = replace(request, labels=(0, 9), first_index=1)
    assert np.array_equal(sample(model, again), sample(model, request)[1:])
    assert model.settings.sampling.sampler == request.sampler


def test_other_samplers_follow_the_betas_of_the_file(tmp_path: Path) -> None:
    case = CASES["U-Net, DPM++, trained betas"]
    our_pictures(make(case, tmp_path / "given"), tmp_path, request_of(case))
    schedule = load_model_folder(tmp_path / "model", device="cpu").schedule
    wanted = np.cumprod(1 - np.array(case.options["trained_betas"]))
    for sampler in ("ddim", "unipc"):
        found = build_sampler(sampler, schedule, 10).alphas_cumprod.numpy()
        assert np.abs(found - wanted).max() < 1e-6
    pictures = [
        sample(
            load_model_folder(tmp_path / "model", device="cpu"),
            replace(request_of(case), sampler=name, num_inference_steps=5),
        )
        for name in ("dpmpp_2m", "ddim")
    ]
    assert not np.array_equal(*pictures), "so the comparison with diffusers can fail"


def test_a_dit_mixes_classes_as_a_unet_does(tmp_path: Path) -> None:
    case = CASES["DiT, flow matching by Euler, shift 2"]
    our_pictures(make(case, tmp_path / "given"), tmp_path, request_of(case))
    model = load_model_folder(tmp_path / "model", device="cpu")
    plain = SampleRequest(labels=(3, 3), sampler="euler", num_inference_steps=3, guidance_scale=2.0, seed=1)
    mixed = replace(plain, to_labels=(7, 7), label_mix=(0.0, 0.5))
    one, two = sample(model, plain), sample(model, mixed)
    assert np.abs(one[0].astype(int) - two[0]).max() <= 1
    assert not np.array_equal(one[1], two[1])


@pytest.mark.parametrize(
    ("kind", "told"),
    [(UNet2DModel, diffusers_layout.UNET_DEFAULTS), (AutoencoderKL, diffusers_layout.VAE_DEFAULTS)],
)
def test_missing_keys_are_filled_as_diffusers_fills_them(kind: type, told: dict[str, object]) -> None:
    known = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    for key, value in told.items():
        default = known[key].default
        assert (list(default) if isinstance(default, tuple) else default) == value


def shards(folder: Path) -> dict[str, bytes]:
    make(CASES["DiT, UniPC, sharded"], folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_shards_become_one_file_with_the_same_numbers(tmp_path: Path) -> None:
    files = shards(tmp_path)
    parts = [load(data) for name, data in files.items() if name.startswith("transformer/") and "-of-" in name]
    whole = load(with_whole_weights(files)[UNET_WEIGHTS])
    assert len(parts) > 1 and sum(map(len, parts)) == len(whole)
    for part in parts:
        assert all(torch.equal(value, whole[key]) for key, value in part.items())
    assert not any("-of-" in name or "index" in name.partition("/")[2] for name in with_whole_weights(files))


@pytest.mark.parametrize("fault", ["a shard is missing", "an index names more", "a tensor is there twice"])
def test_shards_that_do_not_fit_each_other_are_refused(tmp_path: Path, fault: str) -> None:
    files = shards(tmp_path)
    names = sorted(name for name in files if name.startswith("transformer/") and "-of-" in name)
    index = "transformer/diffusion_pytorch_model.safetensors.index.json"
    if "missing" in fault:
        del files[names[1]]
    elif "index" in fault:
        told = json.loads(files[index])
        told["weight_map"]["more"] = names[0].rpartition("/")[2]
        files[index] = json.dumps(told).encode()
    else:
        files[names[1]] = files[names[0]]
        del files[index]
    with pytest.raises(ModelRefused, match=r"is missing|names other tensors|is there twice"):
        with_whole_weights(files)


def test_of_several_variants_the_most_precise_is_taken(tmp_path: Path) -> None:
    folder = make(Case(scheduler="DDIMScheduler", dit=True), tmp_path)
    plain = (folder / VAE_WEIGHTS).read_bytes()
    half = {key: value.half() for key, value in load_file(folder / VAE_WEIGHTS).items()}
    save_file(half, folder / "half.safetensors")
    base = "vae/diffusion_pytorch_model"
    variants = {
        f"{base}.bf16.safetensors": b"?",
        f"{base}.fp16.safetensors": (folder / "half.safetensors").read_bytes(),
    }
    assert with_whole_weights({**variants, VAE_WEIGHTS: plain}) == {VAE_WEIGHTS: plain}
    assert list(with_whole_weights(variants)) == [VAE_WEIGHTS]
