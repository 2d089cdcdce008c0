"""Overview, Train, Runs, Data and the gallery are drawn without PyTorch, whose import takes seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from core.runs.store import RunStore
from tests.pages.run_folders import running

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file({home!r}, default_timeout=60)
app.switch_page("../pages/{page}.py")
app.query_params.update({query!r})
app.run()
assert not app.exception and app.title, app
heavy = [name for name in ("torch", "torchvision", "diffusers", "accelerate") if name in sys.modules]
assert not heavy, heavy
"""


@pytest.mark.parametrize("link", ["overview", "train", "runs", "data", "generate?view=Gallery"])
def test_page_leaves_pytorch_alone(link: str, store: RunStore, tmp_path: Path) -> None:
    running(store)
    page, _, query = link.partition("?")
    program = PROGRAM.format(home=str(ROOT / "lab" / "Home.py"), page=page, query=dict(parse_qsl(query)))
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
