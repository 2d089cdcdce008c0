"""The lab in a notebook: the lines that the manual prints run as they are, and their answers agree with the files."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import api
from core.config.load import settings_from
from core.errors import LabError
from core.runs.metrics import read_metrics
from core.runs.store import RunStore
from tests.core.test_old_runs import OLD

PAGE = Path(__file__).resolve().parents[2] / "docs" / "runs.md"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the lines of the manual leave behind, run on old runs."""
    shutil.copytree(OLD / "runs", tmp_path / "runs")
    for name in ("runs", "data", "cache"):
        monkeypatch.setenv(f"LAB_{name.upper()}", str(tmp_path / name))
    (lines,) = re.findall(r"^```python\n(from core import api.*?)^```", PAGE.read_text(), flags=re.M | re.S)
    found: dict[str, Any] = {}
    exec(lines, found)
    return found


@pytest.mark.slow
def test_the_lines_of_the_manual_run_as_printed(told: dict[str, Any]) -> None:
    run = told["run"]
    assert set(told["table"]["kind"]) == {"comparison", "unet", "vae"}
    columns = read_metrics(run.metrics_path)
    assert told["values"].index.tolist() == columns["step"].tolist()
    np.testing.assert_array_equal(told["values"]["loss"], columns["loss"])
    assert told["images"]["predicted_images"].dtype == np.uint8
    assert told["images"]["predicted_images"].ndim == 4
    latents, images, labels = told["found"]
    assert len(latents) == len(images) == len(labels) == 100
    assert latents.dtype == np.float32
    assert np.isfinite(latents).all()


def test_a_run_that_logged_nothing_has_no_metrics_and_no_samples(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    assert api.runs(store.root).empty
    run = store.create("vae", settings_from({}))
    assert api.find(run.id, store.root) == run
    assert api.metrics(run).empty
    with pytest.raises(LabError, match="no preview"):
        api.samples(run)
