"""An exported folder in an environment that has diffusers and torch and nothing else: the pictures are ours.

The environment is a real venv whose packages are links to what diffusers and torch say they require, and no more. Its
program is the one printed in the folder's own card, then the same pipeline with the noise of this lab.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import venv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from safetensors.torch import load_file, save_file

from core.diffusion.schedule import build_schedule
from core.model_folders.export import ExportDetails, export_files, export_run, write_export
from core.runs.facts import DataFacts
from core.runs.run import Run
from core.sampling.load import LoadedModel, load_model
from core.sampling.request import SampleRequest
from core.sampling.steps import sample_steps
from core.seeding import derive

pytestmark = pytest.mark.slow

NOT_THERE = ("core", "lab", "streamlit", "accelerate", "torchvision", "scipy", "sklearn", "pydantic", "plotly")
UNET, VAE = ("transformer/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors")
LABELS, SEED = (3, 5, 9), 3
PROGRAM = """
import importlib.util, json, re, sys
import numpy as np, torch
torch.set_num_threads(1)
wanted = json.loads(sys.stdin.read())
said = {"there": [name for name in wanted["not_there"] if importlib.util.find_spec(name)], "path": sys.path}
for name, ask in wanted["folders"].items():
    card = open(ask["folder"] + "/README.md").read()
    program = re.search(r"```python\\n(.*?)```", card, re.S).group(1).replace("PATH_OF_THIS_FOLDER", ask["folder"])
    scope = {}
    exec(program if ask["whole_card"] else program.split("images =")[0], scope)
    said[name] = [type(picture).__module__ for picture in scope.get("images", [])]
    for scale in ask["scales"]:
        pictures = scope["pipeline"](
            ask["labels"], guidance_scale=scale, num_inference_steps=ask["steps"], output_type="np",
            generator=[torch.Generator().manual_seed(seed) for seed in ask["seeds"]],
        ).images
        np.save(f"{name}-{scale}.npy", pictures)
print(json.dumps(said))
"""


def required_by(*roots: str) -> dict[str, importlib.metadata.Distribution]:
    """The distributions that must be there for these, without extras, themselves included."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(roots)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        needs = [Requirement(text) for text in found[name].requires or []]
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def stock_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a venv with diffusers, torch and what these two require."""
    root = tmp_path_factory.mktemp("stock") / "venv"
    venv.create(root, with_pip=False, symlinks=True)
    (packages,) = (root / "lib").glob("python*/site-packages")
    for distribution in required_by("diffusers", "torch").values():
        for top in {file.parts[0] for file in distribution.files or []}:
            place = Path(str(distribution.locate_file(top)))
            if top not in ("..", "__pycache__") and place.exists() and not (packages / top).exists():
                (packages / top).symlink_to(place)
    return root / "bin" / "python"


def our_pictures(model: LoadedModel, request: SampleRequest) -> np.ndarray:
    final = list(sample_steps(model, request))[-1].next_latents
    return (model.codec.decode(final) / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()


def spoiled(folder: Path, copy: Path, spoil: Any) -> Path:
    shutil.copytree(folder, copy)
    spoil(copy)
    return copy


def with_wrong_scaling(folder: Path) -> None:
    weights = load_file(folder / VAE)
    weights["post_quant_conv.weight"] *= 1.02
    save_file(weights, folder / VAE)


def with_wrong_timesteps(folder: Path) -> None:
    path = folder / "scheduler/scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "timestep_spacing": "leading", "flow_shift": 1.5}))


def with_wrong_null_row(folder: Path) -> None:
    weights = load_file(folder / UNET)
    weights["class_embedding.weight"][-1] = weights["class_embedding.weight"][0]
    save_file(weights, folder / UNET)


def with_exchanged_classes(folder: Path) -> None:
    weights = load_file(folder / UNET)
    rows = weights["class_embedding.weight"]
    weights["class_embedding.weight"] = torch.cat([rows[:3], rows[5:6], rows[4:]])
    save_file(weights, folder / UNET)


@pytest.fixture(scope="module")
def drawn(trained: Run, stock_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the stock environment said and drew, and what this lab draws, all folders in one process."""
    root = tmp_path_factory.mktemp("stock-folders")
    model = replace(load_model(trained, device="cpu"), noise_rule=1)  # whose seed a plain generator takes
    flow = export_run(trained, root / "flow")
    diffusion = model.settings.diffusion.model_copy(update={"schedule": "cosine", "prediction_type": "v_prediction"})
    sampling = model.settings.sampling.model_copy(update={"sampler": "ddim"})
    settings = model.settings.model_copy(update={"diffusion": diffusion, "sampling": sampling})
    noisy = replace(model, settings=settings, schedule=build_schedule(diffusion))
    details = ExportDetails(title="cosine", run_id="r", data=DataFacts(name="digits"), sampler="ddim")
    cosine = write_export(export_files(noisy, details), root / "cosine")
    folders = {
        "flow": flow,
        "cosine": cosine,
        "scaling": spoiled(flow, root / "scaling", with_wrong_scaling),
        "timesteps": spoiled(flow, root / "timesteps", with_wrong_timesteps),
        "cosine-timesteps": spoiled(cosine, root / "cosine-timesteps", with_wrong_timesteps),
        "null": spoiled(flow, root / "null", with_wrong_null_row),
        "labels": spoiled(flow, root / "labels", with_exchanged_classes),
    }
    scales = {name: [1.0, 2.5] if name in ("flow", "cosine") else [2.5] for name in folders}
    ask = {"labels": LABELS, "steps": 8, "seeds": [derive(SEED, "sample", index) for index in range(len(LABELS))]}
    wanted = {
        "not_there": NOT_THERE,
        "folders": {
            name: {**ask, "folder": str(folder), "scales": scales[name], "whole_card": len(scales[name]) > 1}
            for name, folder in folders.items()
        },
    }
    answer = subprocess.run(
        [str(stock_python), "-I", "-c", PROGRAM],
        input=json.dumps(wanted),
        cwd=root,
        capture_output=True,
        text=True,
        env={"HF_HUB_OFFLINE": "1", "HOME": str(root), "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = {"said": json.loads(answer.stdout.splitlines()[-1]), "venv": stock_python.parents[1]}
    for scale in (1.0, 2.5):
        request = SampleRequest(
            labels=LABELS,
            sampler="unipc",
            num_inference_steps=8,
            guidance_scale=scale,
            seed=SEED,
            whole_timesteps=True,
            noise_rule=1,
        )
        found[f"our flow {scale}"] = our_pictures(model, request)
        found[f"our cosine {scale}"] = our_pictures(noisy, replace(request, sampler="ddim"))
    for name, each in scales.items():
        found |= {f"{name} {scale}": np.load(root / f"{name}-{scale}.npy") for scale in each}
    return found


def test_the_environment_has_diffusers_and_torch_and_nothing_of_ours(drawn: dict[str, Any]) -> None:
    assert drawn["said"]["there"] == []
    outside = [path for path in drawn["said"]["path"] if "site-packages" in path and str(drawn["venv"]) not in path]
    assert outside == []


def test_the_program_on_the_card_draws(drawn: dict[str, Any]) -> None:
    assert drawn["said"]["flow"] == drawn["said"]["cosine"] == ["PIL.Image"]


@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize("name", ["flow", "cosine"])
def test_plain_diffusers_draws_our_pictures_from_the_same_noise(drawn: dict[str, Any], name: str, scale: float) -> None:
    ours = drawn[f"our {name} {scale}"]
    assert ours.std() > 0.01
    assert np.abs(ours - drawn[f"{name} {scale}"]).max() < 1e-5


@pytest.mark.parametrize("fault", ["scaling", "timesteps", "cosine-timesteps", "null", "labels"])
def test_a_planted_fault_is_seen(drawn: dict[str, Any], fault: str) -> None:
    name = "cosine" if fault.startswith("cosine") else "flow"
    assert np.abs(drawn[f"our {name} 2.5"] - drawn[f"{fault} 2.5"]).max() > 1e-4


def test_the_label_and_guidance_decide_the_picture(drawn: dict[str, Any]) -> None:
    assert np.abs(drawn["flow 1.0"] - drawn["flow 2.5"]).max() > 1e-3
