"""The real child process of a model's import: what it accepts draws, and each of its limits is one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.limited_child import Measured
from core.model_folders.export import export_run
from core.model_folders.exports import packed
from core.model_folders.import_child import ModelLimits
from core.model_folders.import_model import import_model
from core.model_folders.model_facts import model_folder_info
from core.model_folders.model_files import ModelRefused
from core.model_folders.model_folder import load_model_folder
from core.runs.run import Run
from core.sampling.load import load_model
from core.sampling.request import SampleRequest
from core.sampling.steps import sample
from tests.endings import naming

REQUEST = SampleRequest(labels=(3, 5), sampler="unipc", num_inference_steps=4, guidance_scale=2.0, seed=1)


@pytest.fixture(scope="module")
def folder(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only, so it is shared."""
    return export_run(trained, tmp_path_factory.mktemp("export") / "digits")


@pytest.mark.slow
def test_the_child_reads_it_and_the_model_draws(trained: Run, folder: Path, tmp_path: Path) -> None:
    took: list[Measured] = []
    source = tmp_path / "packed.zip"
    source.write_bytes(packed(model_folder_info(folder)))
    info = import_model(source, models_dir=tmp_path / "models", name="mine", imported_by="Ana", measured=took.append)
    assert info.owner == "Ana" and info.imported_at
    assert took[0].peak_bytes > 50e6
    ours = sample(load_model(trained, device="cpu"), REQUEST)
    assert np.array_equal(sample(load_model_folder(info.path, device="cpu"), REQUEST), ours)
    assert naming(tmp_path) == [] and [path.name for path in (tmp_path / "models").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"total_bytes": 50_000}, "all files together are 0 MB"),
        ({"wall_s": 0.0}, "longer than 0 s"),
        ({"cpu_s": 0}, "more than 0 s of processor time|died"),
    ],
)
def test_a_limit_that_is_reached_is_one_sentence(
    folder: Path, tmp_path: Path, limits: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelRefused, match=words):
        import_model(folder, models_dir=tmp_path / "models", limits=ModelLimits(**limits))
    assert not (tmp_path / "models").exists() and naming(tmp_path) == []


def test_a_file_that_takes_more_memory_than_is_allowed_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    large = Path(shutil.copytree(folder, tmp_path / "large"))
    with open(large / "notes.safetensors", "wb") as file:  # 64 MB of zeros
        file.truncate(64 * 2**20)
    with pytest.raises(ModelRefused, match="takes more memory to read than a model of its size needs"):
        import_model(large, models_dir=tmp_path / "models", limits=ModelLimits(spare_bytes=-(48 * 2**20)))
    assert not (tmp_path / "models").exists()


def test_an_import_can_be_cancelled(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="was cancelled"):
        import_model(folder, models_dir=tmp_path / "models", cancelled=lambda: True)
    assert not (tmp_path / "models").exists() and naming(tmp_path) == []
