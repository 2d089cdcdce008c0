"""A lab of its own for every test: runs, cache and data under one temporary folder."""

from __future__ import annotations

import builtins
import functools
import json
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from core.data.overview import describe
from core.machine.memory import RECORDING_VARIABLE
from core.runs.run import Run
from core.runs.store import RunStore
from lab.latents import overview_service
from lab.runs import runs_table
from lab.services import computing
from lab.services.datasets import data_settings
from tests import forked
from tests.models import Lab, brief_judges, made_once
from tests.pages.run_folders import LABS, everything, tiny_settings
from tests.test_architecture import sources, ways_to_heavy, with_packages

ROOT = Path(__file__).resolve().parents[2]
OURS = ("core.", "lab.", "__main__")  # pages are run as __main__
SERVER_THREADS = ("ScriptRunner", "background ")
OpenPage = Callable[..., AppTest]
MakeLab = Callable[[RunStore], list[Run]]
SAMPLED = ("empty", "finished")  # states that the default suite looks at alone, too
STATES = [
    pytest.param(everything, id="all at once"),
    *(pytest.param(make, id=name, marks=[] if name in SAMPLED else pytest.mark.slow) for name, make in LABS.items()),
]

TINY = {
    "vae.block_out_channels": [8, 8],
    "unet.block_out_channels": [8, 16],
    "train_vae.steps": 4,
    "train_unet.steps": 4,
    "train_vae.batch_size": 8,
    "train_unet.batch_size": 8,
    "logging.num_previews": 2,
    "logging.preview_images": 2,
    "logging.preview_inference_steps": 2,
    "logging.validation_images": 16,
    "sampling.num_inference_steps": 3,
    "machine.device": "cpu",
    "machine.num_threads": 1,
    "evaluation.judge_epochs": 1,
}


@pytest.fixture(scope="session", autouse=True)
def no_installed_components() -> Iterator[None]:
    """The lab's components are in the lab: nobody reads the metadata of all installed packages for each page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", list)
        yield


@functools.cache
def heavy_modules() -> frozenset[str]:
    """What imports PyTorch and the like, and these themselves."""
    return frozenset(ways_to_heavy(sources()))


@pytest.fixture(autouse=True)
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page runs, in its thread or in the background, finds nothing heavy to import, however late it asks."""
    heavy, real = heavy_modules(), builtins.__import__

    def guarded(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        asks = str((globals or {}).get("__name__", ""))
        if asks.startswith(OURS) and threading.current_thread().name.startswith(SERVER_THREADS):
            names = with_packages({name, *(f"{name}.{each}" for each in fromlist or ())})
            if names & heavy and asks not in heavy:
                raise ModuleNotFoundError(f"in the server, {asks} imports {name}")
        return real(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", guarded)


def make_trained(root: Path) -> None:
    """A VAE of a few steps on digits, with two checkpoints, and a U-Net on it."""
    lab = Lab(root)
    vae = lab.create("vae", tiny_settings(**TINY, **{"logging.save_every_steps": 2}), name="encoder")
    lab.train(vae)
    lab.train(lab.create("unet", tiny_settings(**TINY), vae, name="drawer"))


@pytest.fixture
def trained(session_folder: Path, store: RunStore) -> dict[str, Run]:
    """The tiny VAE "encoder" and the U-Net "drawer" in the lab of this test, with their data and cache."""
    made = made_once(session_folder / "trained-pages", make_trained)
    shutil.copytree(made, store.root.parent, dirs_exist_ok=True)
    return {run.info.name: run for run in store.list()}


@pytest.fixture
def unet(trained: dict[str, Run]) -> Run:
    return trained["drawer"]


@pytest.fixture
def known_digits(session_folder: Path, store: RunStore) -> None:
    """The digits were looked at before, so the Data page reads what is kept."""

    def look(root: Path) -> None:
        describe(data_settings("digits", ""), data_dir=root / "data", cache_dir=root / "cache")

    shutil.copytree(made_once(session_folder / "known-digits", look), store.root.parent, dirs_exist_ok=True)


@pytest.fixture
def quick_judge(session_folder: Path, store: RunStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Judges that are missing are trained for a second, here and in the process that computes."""
    monkeypatch.setattr(
        computing,
        "COMMAND",
        working_in(f"models.brief_judges(min_steps=20, kept=pathlib.Path({str(session_folder)!r}))"),
    )
    with brief_judges(min_steps=20, kept=session_folder):
        yield


def working_in(context: str) -> list[str]:
    """The command of a process that computes inside that context manager, which may use `models`, `pathlib`."""
    return forked.command(
        "-c",
        f"import pathlib\nfrom core.compute import worker\nfrom tests import models\nwith {context}: worker.main()",
    )


@pytest.fixture
def store(tmp_path: Path, forks: None, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """The runs folder that the screens look at; empty at first. The process that computes for them is forked."""
    monkeypatch.setattr(computing, "COMMAND", forked.command("-m", "core.compute.worker"))
    for name in ("runs", "cache", "data", "imports", "models", "gallery"):
        monkeypatch.setenv(f"LAB_{name.upper()}", str(tmp_path / name))
    monkeypatch.setattr(overview_service, "FIRST", 1000)  # all pictures of a small set: no process measures more
    monkeypatch.setattr(runs_table, "PATIENCE_S", math.inf)  # no column is left for later on a busy machine
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # Home.py sets it; put back after the test
    st.cache_data.clear()
    st.cache_resource.clear()
    return RunStore(tmp_path / "runs")


def held_up(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> threading.Event:
    """Calls of that function of a module wait for the event, and then go their way."""
    goes_on, real = threading.Event(), getattr(module, name)

    def slow(*given: Any, **named: Any) -> Any:
        goes_on.wait(600)
        return real(*given, **named)

    monkeypatch.setattr(module, name, slow)
    return goes_on


def until(app: AppTest, condition: Callable[[AppTest], object]) -> AppTest:
    """Run the page again until it shows what is waited for, as its live part does."""
    for _ in range(3000):
        if condition(app):
            assert not app.exception
            return app
        time.sleep(0.02)
        app.run()
    raise AssertionError("\n".join(element.value for element in app.markdown))


@pytest.fixture
def open_page(store: RunStore) -> OpenPage:
    """open_page("runs", run=id): the page as a browser would get it, through Home.py and its navigation."""

    def _open(page: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "lab" / "Home.py"), default_timeout=600)
        app.user = {}
        app.switch_page(f"../pages/{page}.py")
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return _open


def table(app: AppTest) -> dict[str, Any]:
    """What the browser draws as the table of runs; {} when there is none."""
    found = [each.proto for each in app.get("bidi_component") if each.proto.component_name.endswith("lab_link_table")]
    return dict(json.loads(found[0].json)) if found else {}


def memory(folder: Path, monkeypatch: pytest.MonkeyPatch, *, total: int, free: int) -> None:
    """What the machine says of its memory from now on, bytes."""
    path = folder / "memory.json"
    path.write_text(json.dumps({"total": total, "free": free}))
    monkeypatch.setenv(RECORDING_VARIABLE, str(path))
