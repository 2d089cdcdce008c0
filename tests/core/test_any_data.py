"""Any image dataset trains and samples with no code change: grey and colour, folders, files, published sets.

Published sets cannot be downloaded here: Fashion-MNIST's files are made in its own format and read by torchvision
itself, CIFAR-10 is a stand-in at torchvision's border because its files are checked against published hashes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from core.config.schema import Settings
from core.data import loaders
from core.data.catalog import entry
from core.sampling.load import load_model
from core.sampling.request import SampleRequest
from core.sampling.steps import sample
from tests.models import Lab

SOURCE = np.random.default_rng(0)


def color_folder(root: Path) -> dict[str, object]:
    for name, channel in (("blue", 2), ("green", 1), ("red", 0)):
        (root / "shapes" / name).mkdir(parents=True)
        for index in range(20):
            pixels = SOURCE.integers(0, 60, (30, 40, 3), dtype=np.uint8)
            pixels[8:24, 8:24, channel] = 230
            Image.fromarray(pixels).save(root / "shapes" / name / f"{index}.png")
    return {"data.name": "image_folder", "data.path": str(root / "shapes")}


def npz_file(root: Path) -> dict[str, object]:
    images = SOURCE.integers(0, 255, (60, 12, 12, 3), dtype=np.uint8)
    np.savez(root / "own.npz", images=images, labels=np.arange(60) % 4, class_names=np.array(["n", "e", "s", "w"]))
    return {"data.name": "npz", "data.path": str(root / "own.npz")}


def fashion_files(root: Path) -> dict[str, object]:
    labels = (np.arange(60) % 10).astype(np.uint8)
    images = SOURCE.integers(0, 256, (60, 28, 28), dtype=np.uint8)
    for path in entry("fashion_mnist").loader.paths:  # type: ignore[attr-defined]
        array = images if "images" in path else labels
        file = root / "data" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
        file.write_bytes(header + array.tobytes())
    return {"data.name": "fashion_mnist", "data.download": False}


def cifar_stand_in(root: Path) -> dict[str, object]:
    for path in entry("cifar10").loader.paths:  # type: ignore[attr-defined]
        (root / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "data" / path).touch()
    return {"data.name": "cifar10"}


CASES = {
    "a folder of colour pictures in three classes": (color_folder, 3, 3),
    "an npz file": (npz_file, 4, 3),
    "Fashion-MNIST": (fashion_files, 10, 1),
    "CIFAR-10": (cifar_stand_in, 10, 3),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_trains_and_samples(
    case: str, lab: Lab, tiny: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, classes, channels = CASES[case]
    changes = make(tmp_path)
    if case == "CIFAR-10":
        colors = SimpleNamespace(
            data=SOURCE.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8),
            targets=(np.arange(60) % 10).tolist(),
            classes=list("abcdefghij"),
        )
        monkeypatch.setattr(
            loaders, "torchvision_datasets", lambda: SimpleNamespace(CIFAR10=lambda *args, **kwargs: colors)
        )
    settings = tiny(**changes, **{"train_vae.steps": 6, "train_unet.steps": 6, "logging.num_previews": 1})
    vae = lab.create("vae", settings)
    lab.train(vae)
    unet = lab.create("unet", settings, vae)
    lab.train(unet)
    model = load_model(unet, device="cpu")
    assert model.num_classes == classes
    pictures = sample(
        model,
        SampleRequest(labels=tuple(range(classes)), sampler="unipc", num_inference_steps=3, guidance_scale=1.5, seed=0),
    )
    assert pictures.shape == (classes, 16, 16, channels)
    assert pictures.dtype == np.uint8 and pictures.std() > 0
