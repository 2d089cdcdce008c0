"""Models of others: ours and plain diffusers folders become models of this lab, hostile ones leave nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.__main__ import main
from core.config.schema import DiffusionSettings
from core.config.site import LONGEST_LOGIN
from core.diffusion.gaussian_mixture_test import solver_error
from core.diffusion.samplers import build_sampler, build_stock
from core.diffusion.schedule import build_schedule
from core.errors import UsageError
from core.home import code_root
from core.limited_child import RESULT, write_outcome
from core.model_folders import import_child
from core.model_folders import import_model as module
from core.model_folders.diffusers_layout import SCHEDULER
from core.model_folders.export import export_run
from core.model_folders.import_child import ModelLimits, request_of
from core.model_folders.import_diffusers import diffusions_like
from core.model_folders.import_model import delete_model, import_model
from core.model_folders.model_facts import list_model_folders
from core.model_folders.model_files import ModelRefused
from core.model_folders.model_folder import load_model_folder
from core.model_folders.stock_scheduler import read_scheduler, scheduler_of
from core.reading import read_object
from core.runs.run import Run
from core.sampling.load import load_model
from core.sampling.request import SampleRequest
from core.sampling.steps import sample
from tests.core.sampling.test_model_folder import HOSTILE, UNET, VAE, edited, our_pictures, stock_pictures

REQUEST = SampleRequest(labels=(3, 5), sampler="unipc", num_inference_steps=4, guidance_scale=2.0, seed=1)


@pytest.fixture(scope="module")
def exported(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_run(trained, tmp_path_factory.mktemp("export") / "digits")


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "given" / "digits"))


@pytest.fixture
def plain(folder: Path) -> Path:
    """What plain diffusers needs, and nothing of ours."""
    shutil.rmtree(folder / "lab")
    for name in ("lab.json", "README.md", "grid.png"):
        (folder / name).unlink()
    return folder


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child's own reading without a process of its own, which would import PyTorch for every case."""

    def here(child: str, asked: str, folder: Path, **others: object) -> dict[str, Any]:
        write_outcome(folder, lambda: import_child.read(json.loads(asked), allow=lambda size: None), memory_bytes=0)
        return read_object(folder / RESULT)

    monkeypatch.setattr(module, "run_limited", here)


def zipped(folder: Path, target: Path, *, top: str = "digits") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{top}/{path.relative_to(folder)}" if top else str(path.relative_to(folder)))
    return target


@pytest.mark.slow
def test_a_folder_of_ours_draws_the_run_bit_for_bit(trained: Run, folder: Path, tmp_path: Path) -> None:
    info = import_model(folder, models_dir=tmp_path / "models", name="mine")
    assert info.id == "model:mine" and info.facts.fingerprint
    ours = sample(load_model(trained, device="cpu"), REQUEST)
    assert np.array_equal(sample(load_model_folder(info.path, device="cpu"), REQUEST), ours)


@pytest.mark.parametrize("packed", ["folder", "zip", "flat zip"])
def test_a_plain_diffusers_folder_draws_the_same(trained: Run, plain: Path, tmp_path: Path, packed: str) -> None:
    source = plain if packed == "folder" else zipped(plain, tmp_path / "z.zip", top="" if "flat" in packed else "x")
    info = import_model(source, models_dir=tmp_path / "models", name="plain", data_set="digits")
    ours = sample(load_model(trained, device="cpu"), replace(REQUEST, whole_timesteps=True)).astype(int)
    assert np.abs(sample(load_model_folder(info.path, device="cpu"), REQUEST) - ours).max() <= 1
    assert info.settings().data.name == info.facts.data_set == "digits"


def test_the_scaling_factor_of_a_plain_folder_counts(trained: Run, plain: Path, tmp_path: Path) -> None:
    weights = load_file(plain / VAE)  # the same model, its latents 4 times as large inside the VAE
    weights["post_quant_conv.weight"] /= 4
    weights["quant_conv.weight"] *= 4
    save_file(weights, plain / VAE)
    edited("vae/config.json", lambda config: config.update(scaling_factor=0.25))(plain)
    info = import_model(plain, models_dir=tmp_path / "models")
    ours = sample(load_model(trained, device="cpu"), replace(REQUEST, whole_timesteps=True)).astype(int)
    assert np.abs(sample(load_model_folder(info.path, device="cpu"), REQUEST) - ours).max() <= 1


def test_a_plain_folder_in_half_precision_draws_what_diffusers_draws(plain: Path, tmp_path: Path) -> None:
    for name in (UNET, VAE):
        save_file({key: value.half() for key, value in load_file(plain / name).items()}, plain / name)
    info = import_model(plain, models_dir=tmp_path / "models")
    request = replace(REQUEST, whole_timesteps=True)
    ours = our_pictures(load_model_folder(info.path, device="cpu"), request)
    assert np.abs(ours - stock_pictures(plain, request)).max() < 1e-5


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "cosine", "sigmoid"])
@pytest.mark.parametrize("zero", [False, True])
def test_the_noise_schedule_is_found_again(schedule: Any, zero: bool) -> None:
    asked = DiffusionSettings(schedule=schedule, prediction_type="v_prediction", rescale_betas_zero_snr=zero)
    file = json.loads(build_sampler("ddim", build_schedule(asked), 10).to_json_string())
    found = diffusions_like(scheduler_of(file))[0]
    assert found.prediction_type == "v_prediction"
    difference = build_schedule(found).signal_scale - build_schedule(asked).signal_scale
    assert difference.abs().max() < 1e-6


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "unipc"])
def test_the_file_of_a_schedule_that_ends_in_pure_noise_samples_rightly(sampler: str) -> None:
    asked = DiffusionSettings(schedule="linear", prediction_type="v_prediction", rescale_betas_zero_snr=True)
    schedule = build_schedule(asked)
    file = build_sampler(sampler, schedule, 50).to_json_string().encode()
    stock = build_stock(read_scheduler({SCHEDULER: file}), 50)
    assert solver_error(stock, schedule, 50, num_samples=128).wasserstein < 0.02


def overlapping(folder: Path, target: Path) -> Path:
    zipped(folder, target)
    data = bytearray(target.read_bytes())
    first = data.find(b"PK\x01\x02")
    second = data.find(b"PK\x01\x02", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    target.write_bytes(data)
    return target


def with_entry(name: str, content: bytes, *, mode: int = 0, packed: int = zipfile.ZIP_STORED) -> Callable[..., Path]:
    def make(folder: Path, target: Path) -> Path:
        zipped(folder, target)
        with zipfile.ZipFile(target, "a") as archive:
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, packed
            archive.writestr(entry, content)
        return target

    return make


HOSTILE_ZIPS: dict[str, tuple[Callable[..., Path], str]] = {
    "bomb": (with_entry("digits/x.safetensors", bytes(40 << 20), packed=zipfile.ZIP_DEFLATED), "times its size"),
    "leads out": (with_entry("../../evil.json", b"{}"), "leads out"),
    "absolute": (with_entry("/tmp/evil.json", b"{}"), "leads out"),
    "link": (with_entry("digits/link.json", b"/etc/passwd", mode=stat.S_IFLNK | 0o777), "is a link"),
    "pickle": (with_entry("digits/transformer/model.bin", b"\x80\x04."), "can run code"),
    "program": (with_entry("digits/pipeline.py", b"import os"), "can run code"),
    "archive inside": (with_entry("digits/inner.zip", b"PK"), "archive inside"),
    "shared bytes": (overlapping, "share the same bytes"),
    "truncated": (lambda f, t: t.write_bytes(zipped(f, t).read_bytes()[:-400]) and t, "not a zip archive|damaged"),
    "no zip": (lambda f, t: t.write_bytes(b"\x80\x04junk" * 9) and t, "not a zip archive"),
    "empty": (lambda f, t: zipfile.ZipFile(t, "w").close() or t, "is missing"),
}


def files_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) if folder.exists() else []


def refused(source: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of the command line, after which nothing new lies anywhere."""
    monkeypatch.setenv("LAB_MODELS", str(models))
    before = files_under(source.parent)
    assert main(["import-model", str(source), "--name", "bad"]) in (1, 2)
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and "unexpected" not in said and "Traceback" not in said
    assert files_under(models) == [] and files_under(source.parent) == before
    return said


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_folder_leaves_nothing(
    folder: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, sentence = HOSTILE[case]
    spoil(folder)
    assert sentence in refused(folder, tmp_path / "models", monkeypatch, capsys)


@pytest.mark.parametrize("case", HOSTILE_ZIPS)
def test_a_hostile_zip_leaves_nothing(
    folder: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, sentence = HOSTILE_ZIPS[case]
    (tmp_path / "zips").mkdir()
    source = make(folder, tmp_path / "zips" / "model.zip")
    said = refused(source, tmp_path / "models", monkeypatch, capsys)
    assert any(part in said for part in sentence.split("|"))


def nan_weights(folder: Path) -> None:
    weights = load_file(folder / UNET)
    weights["conv_in.weight"][0, 0, 0, 0] = torch.nan
    save_file(weights, folder / UNET)


def noise(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return edited("scheduler/scheduler_config.json", change)


def unet(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return edited("transformer/config.json", change)


def index(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return edited("model_index.json", change)


def renamed(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / UNET).rename((folder / UNET).with_name(name))


HOSTILE_PLAIN: dict[str, tuple[Callable[[Path], object], str]] = {
    "NaN": (nan_weights, "NaN or infinite"),
    "labels are a list": (index(lambda c: c.update(id2label=["a"])), "has no id2label"),
    "labels are numbers": (index(lambda c: c.update(id2label={"0": 1})), "id2label must name"),
    "labels with a gap": (index(lambda c: c.update(id2label={"0": "a", "7": "b"})), "1 is missing"),
    "too many labels": (index(lambda c: c.update(id2label={str(k): "x" for k in range(5000)})), "1,000 at most"),
    "huge pictures": (unet(lambda c: c.update(sample_size=10**12)), "sample_size"),
    "two sizes": (unet(lambda c: c.update(sample_size=[8, 8])), "sample_size"),
    "channels": (edited("vae/config.json", lambda c: c.update(in_channels=10**9)), "in_channels"),
    "channels are a list": (edited("vae/config.json", lambda c: c.update(in_channels=[1])), "in_channels"),
    "scaling": (edited("vae/config.json", lambda c: c.update(scaling_factor="big")), "scaling_factor"),
    "timesteps": (
        noise(lambda c: c.update(prediction_type="epsilon", num_train_timesteps=10**9)),
        "num_train_timesteps",
    ),
    "betas": (
        noise(lambda c: c.update(prediction_type="epsilon", trained_betas=["x"] * 1000)),
        "trained_betas",
    ),
    "other noise": (
        noise(lambda c: c.update(use_flow_sigmas=False, prediction_type="epsilon", trained_betas=[0.1, 1.0] * 500)),
        "ends in pure noise",
    ),
    "scheduler is a list": (noise(lambda c: c.update(_class_name=[])), "is of a"),
    "Euler": (
        noise(lambda c: c.update(_class_name="EulerDiscreteScheduler")),
        "EulerDiscreteScheduler does not do prediction_type flow_prediction",
    ),
    "PNDM": (noise(lambda c: c.update(_class_name="PNDMScheduler")), "is of a PNDMScheduler"),
    "learned variance": (noise(lambda c: c.update(variance_type="learned_range")), "variance_type is learned_range"),
    "algorithm": (
        noise(lambda c: c.update(_class_name="DPMSolverMultistepScheduler", algorithm_type="deis")),
        "algorithm_type deis",
    ),
    "spacing": (
        noise(
            lambda c: (
                c.update(_class_name="DDIMScheduler", prediction_type="sample", use_flow_sigmas=False)
                or c.update(timestep_spacing="sideways")
            )
        ),
        "diffusers cannot use it so",
    ),
    "no row for no class": (unet(lambda c: c.update(num_class_embeds=10)), "leaves no row for no class"),
    "many layers of a DiT": (
        unet(lambda c: c.update(_class_name="DiTTransformer2DModel", num_layers=10**6)),
        "num_layers",
    ),
    "block types": (unet(lambda c: c.update(down_block_types=[["x"]])), "transformer/config"),
    "layers": (unet(lambda c: c.update(layers_per_block=10**9)), "layers_per_block"),
    "shards": (renamed("diffusion_pytorch_model-00001-of-00002.safetensors"), "shard 2 of 2 is missing"),
    "link": (lambda f: (f / "notes.json").symlink_to("/etc/passwd"), "is a link"),
    "link to a folder": (lambda f: (f / "more").symlink_to("/etc"), "is a link"),
    "pipe": (lambda f: os.mkfifo(f / "pipe.json"), "is not an ordinary file"),
}


@pytest.mark.parametrize("case", HOSTILE_PLAIN)
def test_a_hostile_plain_folder_leaves_nothing(
    plain: Path, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, sentence = HOSTILE_PLAIN[case]
    spoil(plain)
    assert sentence in refused(plain, tmp_path / "models", monkeypatch, capsys)


@pytest.mark.parametrize("name", ["../out", "a/b", ".hidden", "", "x" * 61, "a\nb", "mnist-demo"])
def test_a_name_that_leads_elsewhere_or_is_taken_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    given = folder.rename(folder.with_name("bad name")) if not name else folder
    with pytest.raises(UsageError, match="name: "):
        import_model(given, models_dir=tmp_path / "models", name=name)
    assert not (tmp_path / "models").exists()


def test_models_are_listed_and_deleted_but_not_the_demo(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = tmp_path / "models"
    monkeypatch.setenv("LAB_MODELS", str(models))
    assert main(["import-model", str(folder)]) == 0
    assert main(["models"]) == 0
    assert "model:digits" in (said := capsys.readouterr().out) and "model:mnist-demo" in said
    assert list_model_folders(models)[0].owner in said
    assert main(["sample", "model:digits", "--per-label", "1", "--steps", "2", "--out", str(tmp_path / "o")]) == 0
    assert (tmp_path / "o" / "samples.npz").is_file()
    assert main(["models", "--delete", "digits"]) == 0
    assert files_under(models) == [] and [info.name for info in list_model_folders(models)] == ["mnist-demo"]
    with pytest.raises(UsageError, match="comes with the lab"):
        delete_model(models, "mnist-demo", by="ana")


def test_a_model_of_unknown_data_is_not_evaluated(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_MODELS", str(tmp_path / "models"))
    assert main(["import-model", str(plain)]) == 0
    assert main(["evaluate", "model:digits", "--samples", "10"]) == 2
    assert "does not name its dataset" in capsys.readouterr().err


def test_hostile_input_is_refused_quickly(plain: Path, tmp_path: Path) -> None:
    unet(lambda c: c.update(block_out_channels=[2048] * 16))(plain)
    began = time.process_time()
    with pytest.raises(ModelRefused):
        import_model(plain, models_dir=tmp_path / "models")
    assert time.process_time() - began < 20


@pytest.mark.parametrize("packed", [False, True])
def test_all_files_together_are_bounded(folder: Path, tmp_path: Path, packed: bool) -> None:
    source = zipped(folder, tmp_path / "z.zip") if packed else folder
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    with pytest.raises(ModelRefused, match="all files together are"):
        import_model(source, models_dir=tmp_path / "models", name="x", limits=ModelLimits(total_bytes=size - 1))
    assert import_model(source, models_dir=tmp_path / "models", name="x", limits=ModelLimits(total_bytes=size))


def test_the_memory_that_is_allowed_follows_the_size_of_the_model(folder: Path, tmp_path: Path) -> None:
    allowed: list[int | None] = []
    request = import_child.request_of(folder, name="x", data_set="", folder=tmp_path, limits=ModelLimits())
    import_child.read(json.loads(request), allow=allowed.append)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert allowed == [0, size, None, 4 * size]


@pytest.mark.parametrize("text", ["", "[]", '{"imported_by": 7, "imported_at": ""}', '{"imported_by": "\\u001b[0m"}'])
def test_a_damaged_note_of_who_imported_it_names_nobody(folder: Path, tmp_path: Path, text: str) -> None:
    info = import_model(folder, models_dir=tmp_path / "models")
    (info.path / "import.json").write_text(text)
    (again, _) = list_model_folders(tmp_path / "models")
    assert (again.name, again.owner, again.imported_at) == ("digits", "", "")


LOGIN = f"{'a' * (LONGEST_LOGIN - 12)}@lab.example"  # cut, it could be somebody else's


def test_what_another_lab_noted_does_not_count(folder: Path, tmp_path: Path) -> None:
    (folder / "import.json").write_text('{"imported_by": "Mallory", "imported_at": ""}')
    assert import_model(folder, models_dir=tmp_path / "models", imported_by=LOGIN).owner == LOGIN


def test_a_model_of_somebody_else_is_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("LAB_USER", "Ben")
    import_model(folder, models_dir=tmp_path / "models", imported_by="Ana")
    assert main(["models", "--delete", "digits"]) == 2
    assert "model:digits belongs to Ana, you are Ben" in capsys.readouterr().err
    assert len(list_model_folders(tmp_path / "models")) == 2
    assert main(["models", "--delete", "digits", "--yes"]) == 0
    assert [info.name for info in list_model_folders(tmp_path / "models")] == ["mnist-demo"]


def test_a_judge_that_is_not_finite_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "lab" / "judge").mkdir()
    save_file({"head.bias": torch.full((3,), torch.nan)}, folder / "lab" / "judge" / "model.safetensors")
    with pytest.raises(ModelRefused, match="NaN or infinite"):
        import_model(folder, models_dir=tmp_path / "models")


NEEDS_PYTORCH = {
    *("NaN", "infinite", "wrong shapes", "lacks a tensor", "other noise"),
    *("many layers of a DiT", "no row for no class", "spacing"),
    *("foreign block", "block types"),  # what of a network's configuration the builders of diffusers know better
}
READ_WITHOUT_PYTORCH = """
import json, sys
sys.modules["torch"] = None
from core.errors import LabError
from core.model_folders import import_child
for request in sys.stdin:
    try:
        import_child.read(json.loads(request), allow=lambda size: None)
    except (LabError, ImportError) as error:
        print(f"{type(error).__name__}: {error}")
"""


@pytest.mark.slow
def test_what_can_be_refused_without_pytorch_is_refused_before_it_is_loaded(plain: Path, exported: Path) -> None:
    """It took 1.25 GB to say that a folder lacks a file. A sound folder is the one that may load it."""
    cases, requests = [("sound", "", "No module named|import of torch")], []
    for kind, spoiled in (("ours", HOSTILE), ("plain", HOSTILE_PLAIN)):
        for case, (_, sentence) in spoiled.items():
            cases.append((case, kind, sentence if case not in NEEDS_PYTORCH else cases[0][2]))
    for number, (case, kind, _) in enumerate(cases):
        folder = Path(shutil.copytree(plain if kind == "plain" else exported, plain.parent / str(number)))
        if kind:
            (HOSTILE_PLAIN if kind == "plain" else HOSTILE)[case][0](folder)
        limits = ModelLimits()
        requests.append(
            request_of(folder, name="x", data_set="", folder=plain.parent / f"{number}-kept", limits=limits)
        )
    done = subprocess.run(
        [sys.executable, "-c", READ_WITHOUT_PYTORCH],
        input="\n".join(requests),
        capture_output=True,
        text=True,
        check=True,
        cwd=code_root(),
    )
    said = dict(zip(cases, done.stdout.splitlines(), strict=True))
    wrong = {case[:2]: words for case, words in said.items() if not any(part in words for part in case[2].split("|"))}
    assert wrong == {}
