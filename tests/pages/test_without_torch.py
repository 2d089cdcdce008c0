"""Overview, Train, Runs, Machine, Data and the gallery are drawn without PyTorch, whose import takes seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.runs.store import RunStore
from tests.pages.run_folders import running

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = f"""
import sys
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest
manifest_scanner.scan_component_manifests = list
for page, query in (
    ("overview", {{}}), ("train", {{}}), ("runs", {{}}), ("machine", {{}}), ("data", {{}}),
    ("generate", {{"view": "Gallery"}}),
):
    app = AppTest.from_file({str(ROOT / "lab" / "Home.py")!r}, default_timeout=600)
    app.switch_page(f"../pages/{{page}}.py")
    app.query_params.update(query)
    app.run()
    assert not app.exception and app.title, (page, app)
    heavy = [name for name in ("torch", "torchvision", "diffusers", "accelerate") if name in sys.modules]
    assert not heavy, (page, heavy)
"""


@pytest.mark.usefixtures("known_digits")
def test_pages_that_do_not_compute_leave_pytorch_alone(store: RunStore, tmp_path: Path) -> None:
    running(store)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
