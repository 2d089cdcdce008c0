"""What is looked at before a run exists needs no PyTorch: the command returns, or says what is wrong, at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from core.data.catalog import entry
from core.data.loaders import IdxLoader
from tests.core.data.test_loaders import idx

ROOT = Path(__file__).resolve().parents[3]
CODE = """
import sys
from pathlib import Path
from core.config.load import load_config
from core.training.ready import check_ready
folder = Path(sys.argv[1])
check_ready(load_config(overrides={"data.name": "fashion_mnist"}), data_dir=folder / "data", cache_dir=folder / "cache")
print(sorted({"torch", "torchvision", "diffusers", "accelerate", "scipy"} & sys.modules.keys()))
"""


def test_a_run_is_prepared_without_pytorch(tmp_path: Path) -> None:
    loader = entry("fashion_mnist").loader
    assert isinstance(loader, IdxLoader)
    for path in loader.paths:
        labels = np.arange(20, dtype=np.uint8) % 10
        idx(tmp_path / "data" / path, np.zeros((20, 28, 28), np.uint8) if "images" in path else labels)
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
    assert len(list((tmp_path / "cache" / "arrays").iterdir())) == 1
