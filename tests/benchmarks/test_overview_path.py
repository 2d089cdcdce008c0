"""The stored stages of Overview's path are what the bundled model makes of its image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.overview_path import path_of
from core.config.load import read_site
from core.model_folders.sources import source_named
from core.runs.store import RunStore
from lab.overview.image_path import PATH_FILE


@pytest.mark.slow
def test_the_path_of_an_image_is_drawn_by_the_bundled_model(tmp_path: Path) -> None:
    with np.load(PATH_FILE) as stored:
        kept = {name: stored[name] for name in stored.files}
    model = source_named("model:mnist-demo", RunStore(tmp_path), read_site()[0].models).load(device="cpu")
    made = path_of(model, kept["image"])
    assert made.keys() == kept.keys()
    for name in ("latent", "noisy_latent", "clean_latent"):
        assert np.allclose(made[name], kept[name], atol=1e-3), name
    assert np.abs(made["generated"].astype(int) - kept["generated"]).max() <= 2
