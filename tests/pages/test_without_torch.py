"""Every page and view is drawn by a server that cannot import PyTorch: what it needs is asked elsewhere."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from core.runs.run import Run
from core.runs.store import RunStore
from tests.conftest import RUNNER
from tests.pages.conftest import SERVER_THREADS
from tests.pages.run_folders import running
from tests.test_architecture import HEAVY

ROOT = Path(__file__).resolve().parents[2]
VIEWS = {
    "overview": ("",),
    "train": ("",),
    "runs": ("",),
    "machine": ("",),
    "data": ("",),
    "evaluate": ("",),
    "compare": ("",),
    "generate": ("Create", "Gallery", "Film"),
    "latents": ("Images", "Channels", "Map", "Decoder", "Ceiling", "Compare"),
    "schedulers": ("Schedules", "Samplers", "Loss by timestep", "Self-test"),
}
PROGRAM = f"""
import sys
sys.modules.update(dict.fromkeys({HEAVY!r}))
from streamlit import config
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest
from lab.services import computing
from tests import forked
manifest_scanner.scan_component_manifests = list
for name, value in {RUNNER!r}.items():
    config.set_option(f"runner.{{name}}", value)
computing.COMMAND = forked.command("-m", "core.compute.worker")
for page, views in {VIEWS!r}.items():
    for view in views:
        for run in ("", *(sys.argv[1:] if page == "runs" else ())):
            app = AppTest.from_file({str(ROOT / "lab" / "Home.py")!r}, default_timeout=600)
            app.switch_page(f"../pages/{{page}}.py")
            app.query_params.update({{name: value for name, value in (("view", view), ("run", run)) if value}})
            app.run()
            problems = [each.value for each in (*app.exception, *app.error)]
            assert app.title and not problems, (page, view, run, problems)
"""


@pytest.mark.usefixtures("known_digits")
def test_every_page_is_drawn_by_a_server_without_pytorch(
    store: RunStore, trained: dict[str, Run], tmp_path: Path
) -> None:
    running(store)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *(run.id for run in trained.values())],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]


def test_no_page_or_view_is_left_out() -> None:
    found = {}
    for path in (ROOT / "pages").glob("*.py"):
        views = [
            ast.literal_eval(key)
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict)
            for key in node.value.keys
            if key and "VIEWS" in ast.unparse(node)
        ]
        found[path.stem] = tuple(views) or ("",)
    assert found == VIEWS


@pytest.mark.parametrize(
    "asked", ["import torch", "from core.training import probe", "from core.data.batches import x"]
)
@pytest.mark.parametrize("thread", [f"{name}1" for name in SERVER_THREADS])
def test_what_imports_pytorch_late_in_the_server_is_caught(thread: str, asked: str) -> None:
    found: list[Exception] = []

    def work() -> None:
        try:
            exec(asked, {"__name__": "lab.somewhere"})
        except Exception as error:
            found.append(error)

    working = threading.Thread(target=work, name=thread)
    working.start()
    working.join()
    assert [str(error) for error in found] == [f"in the server, lab.somewhere imports {asked.split()[1]}"]
