"""An exported run is a stock diffusers pipeline and, loaded back, the run itself; a hostile folder is one sentence."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DiTPipeline
from safetensors.torch import load_file, save_file

import core.sampling.steps as steps
from core.diffusion.schedule import build_schedule
from core.errors import UsageError
from core.home import code_root
from core.model_folders.export import ExportDetails, export_files, export_run, write_export
from core.model_folders.model_card import model_card
from core.model_folders.model_facts import list_model_folders, parse_facts
from core.model_folders.model_files import ModelRefused, tensor_headers
from core.model_folders.model_folder import load_model_folder
from core.runs.facts import DataFacts, codec_facts
from core.runs.run import Run
from core.sampling.load import LoadedModel, load_model
from core.sampling.request import SampleRequest
from core.sampling.steps import sample, sample_steps

UNET, VAE = ("transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors")
REQUEST = SampleRequest(labels=(3, 5, 9), sampler="unipc", num_inference_steps=6, guidance_scale=2.5, seed=3)


@pytest.fixture(scope="module")
def model(trained: Run) -> LoadedModel:
    return load_model(trained, device="cpu")


@pytest.fixture(scope="module")
def exported(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_run(trained, tmp_path_factory.mktemp("models") / "digits")


def stock_pictures(folder: Path, request: SampleRequest) -> np.ndarray:
    """(N, H, W, C) in [0, 1] by plain diffusers, from the noise that this lab gives the request."""
    pipeline = DiTPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    pictures: np.ndarray = pipeline(
        pipeline.get_label_ids([str(label) for label in request.labels]),
        guidance_scale=request.guidance_scale,
        num_inference_steps=request.num_inference_steps,
        generator=steps.noise_sources(request),
        output_type="np",
    ).images
    return pictures


def our_pictures(model: LoadedModel, request: SampleRequest) -> np.ndarray:
    final = list(sample_steps(model, request))[-1].next_latents
    return (model.codec.decode(final) / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()


@pytest.mark.slow
def test_loaded_back_the_pictures_are_those_of_the_run(model: LoadedModel, exported: Path) -> None:
    again = load_model_folder(exported, device="cpu")
    assert again.run_id == "model:digits" and again.class_names == model.class_names
    assert np.array_equal(sample(model, REQUEST), sample(again, REQUEST))


def test_plain_diffusers_draws_the_same_flow_matching(model: LoadedModel, exported: Path) -> None:
    ours = our_pictures(model, replace(REQUEST, whole_timesteps=True))
    assert ours.std() > 0.01
    assert np.abs(ours - stock_pictures(exported, REQUEST)).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["ddim", "dpmpp_2m", "unipc", "deis"])
def test_plain_diffusers_draws_the_same_with_noise_schedules(model: LoadedModel, sampler: str, tmp_path: Path) -> None:
    diffusion = model.settings.diffusion.model_copy(update={"schedule": "linear", "prediction_type": "v_prediction"})
    sampling = model.settings.sampling.model_copy(update={"sampler": "ddim"})
    settings = model.settings.model_copy(update={"diffusion": diffusion, "sampling": sampling})
    noisy = replace(model, settings=settings, schedule=build_schedule(diffusion))
    details = ExportDetails(title="vp", run_id="r", data=DataFacts(name="digits"), sampler=sampler)
    folder = write_export(export_files(noisy, details), tmp_path / "vp")
    asked = replace(REQUEST, sampler=sampler, num_inference_steps=8)
    assert np.abs(our_pictures(noisy, asked) - stock_pictures(folder, asked)).max() < 1e-5


def test_guidance_and_label_reach_the_stock_picture(exported: Path) -> None:
    plain = stock_pictures(exported, REQUEST)
    assert not np.allclose(plain, stock_pictures(exported, replace(REQUEST, guidance_scale=1.0)))
    assert not np.allclose(plain, stock_pictures(exported, replace(REQUEST, labels=(4, 5, 9)))[:1])


def test_a_folder_that_is_not_empty_is_refused(trained: Run, exported: Path) -> None:
    with pytest.raises(UsageError, match="exists and is not empty"):
        export_run(trained, exported)


def test_the_bundled_demo_is_always_listed_and_loads(tmp_path: Path) -> None:
    (info,) = list_model_folders(tmp_path / "none")
    assert info.id == "model:mnist-demo" and info.class_names == tuple("0123456789")
    assert sum(path.stat().st_size for path in info.path.rglob("*")) < 12e6
    assert load_model_folder(info.path, device="cpu").num_classes == 10


def edited(name: str, change: Callable[[dict], object]) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        values = json.loads((folder / name).read_text())
        change(values)
        (folder / name).write_text(json.dumps(values))

    return edit


def with_tensors(name: str, change: Callable[[dict], object]) -> Callable[[Path], object]:
    """Changed weights under a hash that fits, as somebody who means harm would write it."""

    def edit(folder: Path) -> None:
        import hashlib

        tensors = load_file(folder / name)
        change(tensors)
        save_file(tensors, folder / name)
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        edited("lab.json", lambda facts: facts["files"][name].update(sha256=digest))(folder)

    return edit


def rehashed(name: str, change: Callable[[Path], object]) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        import hashlib

        change(folder)
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        edited("lab.json", lambda facts: facts["files"][name].update(sha256=digest))(folder)

    return edit


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickle beside it": (lambda f: (f / "transformer/pytorch_model.bin").write_bytes(b"x"), "can run code"),
    "python beside it": (lambda f: (f / "pipeline.py").write_text("import os"), "can run code"),
    "pickle in disguise": (rehashed(UNET, lambda f: (f / UNET).write_bytes(pickle.dumps([1] * 99))), "is a pickle"),
    "zip in disguise": (rehashed(UNET, lambda f: torch.save({"a": 1}, f / UNET)), "is an archive"),
    "truncated": (rehashed(UNET, lambda f: (f / UNET).write_bytes((f / UNET).read_bytes()[:-9])), "is damaged"),
    "huge header": (rehashed(VAE, lambda f: (f / VAE).write_bytes(b"\xff" * 7 + b"\x00{}")), "announces a header"),
    "altered": (lambda f: (f / VAE).write_bytes((f / VAE).read_bytes()[:-1] + b"\x01"), "was altered"),
    "NaN": (with_tensors(UNET, lambda t: t["conv_in.weight"].fill_(float("nan"))), "NaN or infinite"),
    "infinite": (with_tensors("lab/vae.safetensors", lambda t: t["decoder.conv_out.bias"].fill_(torch.inf)), "NaN or"),
    "wrong shapes": (with_tensors(UNET, lambda t: t.update({"conv_in.bias": torch.zeros(3)})), "has shape"),
    "lacks a tensor": (with_tensors(UNET, lambda t: t.pop("conv_in.bias")), "lacks conv_in.bias"),
    "absurd width": (
        rehashed(
            "transformer/config.json",
            edited("transformer/config.json", lambda c: c.update(block_out_channels=[10**9] * 2)),
        ),
        "less than or equal to 2048",
    ),
    "absurd depth": (
        rehashed("vae/config.json", edited("vae/config.json", lambda c: c.update(layers_per_block=10**9))),
        "less than or equal to 8",
    ),
    "foreign block": (
        rehashed(
            "transformer/config.json", edited("transformer/config.json", lambda c: c.update(mid_block_type="Evil"))
        ),
        "mid_block_type",
    ),
    "foreign class": (
        rehashed("model_index.json", edited("model_index.json", lambda c: c.update(transformer=["evil", "Net"]))),
        "only UNet2DModel or DiT",
    ),
    "foreign pipeline": (
        rehashed("model_index.json", edited("model_index.json", lambda c: c.update(_class_name="Evil"))),
        "only DiTPipeline",
    ),
    "hostile label": (
        rehashed("model_index.json", edited("model_index.json", lambda c: c["id2label"].update({"0": "\x1b[31m"}))),
        "cannot be the name of a class",
    ),
    "escape": (
        edited("lab.json", lambda c: c["files"].update({"../../x": {"size": 1, "sha256": "0" * 64}})),
        "is missing",
    ),
    "missing": (lambda f: (f / "vae/config.json").unlink(), "is missing"),
    "nested": (lambda f: (f / "lab.json").write_text("[" * 100_000), "lab.json"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_folder_is_one_sentence(exported: Path, tmp_path: Path, case: str) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    spoil, sentence = HOSTILE[case]
    spoil(folder)
    with pytest.raises(ModelRefused, match=sentence) as refused:
        load_model_folder(folder, device="cpu")
    assert "\n" not in str(refused.value) and str(refused.value).isprintable()


def test_a_link_out_of_the_folder_is_refused(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    (folder / UNET).unlink()
    (folder / UNET).symlink_to(exported / UNET)
    with pytest.raises(ModelRefused, match="is a link"):
        load_model_folder(folder, device="cpu")


def test_what_a_header_says_must_fill_the_file_exactly() -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    data = len(header).to_bytes(8, "little") + header
    assert tensor_headers(data + bytes(16), "w")["a"].shape == (4,)
    with pytest.raises(ModelRefused, match="is damaged"):
        tensor_headers(data + bytes(20), "w")


def test_the_card_says_what_each_latent_channel_carries(trained: Run, exported: Path) -> None:
    kl = codec_facts(trained).kl
    assert len(kl) == trained.settings.vae.latent_channels and all(value > 0.0 for value in kl)
    said = re.search(r"latent channels, which carry (.+) nats per image", (exported / "README.md").read_text())
    assert said is not None
    assert [float(each.replace(",", "")) for each in said[1].split(", ")] == pytest.approx(kl, rel=0.06)


def test_the_card_of_the_demo_is_what_export_writes_today(tmp_path: Path) -> None:
    (info,) = list_model_folders(tmp_path / "none")
    facts = json.loads((info.path / "lab.json").read_text())
    scheduler = json.loads((info.path / "scheduler/scheduler_config.json").read_text())["_class_name"]
    assert (info.path / "README.md").read_text() == model_card(facts, info.settings(), scheduler=scheduler)


@pytest.mark.parametrize(("number", "words"), [(2, "made by a newer version of the lab"), (0, "not known")])
def test_a_format_of_another_number_is_refused_even_where_no_key_is_new(number: int, words: str) -> None:
    facts = json.loads((code_root() / "models" / "mnist-demo" / "lab.json").read_text())
    with pytest.raises(ModelRefused, match=words):
        parse_facts(json.dumps({**facts, "format_version": number}).encode())
