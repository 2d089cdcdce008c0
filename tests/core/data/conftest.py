"""Small datasets made on the spot, and real MNIST where LAB_DATA has it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.config.schema import DataSettings
from core.data.arrays import ImageSet, arrays_folder, open_image_set


@pytest.fixture
def mnist_dir() -> Path:
    folder = Path(os.environ.get("LAB_DATA", "no LAB_DATA"))
    if not (folder / "MNIST" / "raw").is_dir():
        pytest.skip("real MNIST is not here (set LAB_DATA)")
    return folder


@pytest.fixture
def color_folder(tmp_path: Path) -> Path:
    """Three classes of 12 colour pictures each, of mixed sizes, every picture unlike the others."""
    root = tmp_path / "shapes"
    source = np.random.default_rng(0)
    for name, color in (("blue", 2), ("green", 1), ("red", 0)):
        (root / name).mkdir(parents=True)
        for index in range(12):
            pixels = source.integers(0, 60, (24 + index * 3, 40, 3), dtype=np.uint8)
            pixels[..., color] += 150
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., ImageSet]:
    """prepare() with the given data settings, but in this process also where data.path is read.

    Nothing is ever downloaded unless the test says so.
    """

    def _build(*, data_dir: Path | None = None, **settings: object) -> ImageSet:
        options = {name: settings.pop(name) for name in ("seed", "report", "limits", "rules") if name in settings}
        folder = arrays_folder(
            DataSettings.model_validate({"download": False, "fit": "pad", **settings}),
            data_dir=data_dir or tmp_path / "data",
            cache_dir=tmp_path / "cache",
            **options,  # type: ignore[arg-type]
        )
        return open_image_set(folder)

    return _build
