"""A lab of its own for every test: runs, cache and data under one temporary folder."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from core.runs.run import Run
from core.runs.store import RunStore
from lab.latents import overview_service
from tests.models import brief_judges
from tests.pages.run_folders import tiny_settings

ROOT = Path(__file__).resolve().parents[2]
OpenPage = Callable[..., AppTest]

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
}


@pytest.fixture(scope="session", autouse=True)
def _no_installed_components() -> Iterator[None]:
    """The lab's components are in the lab: nobody reads the metadata of all installed packages for each page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", list)
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs folder with a finished VAE and U-Net of a few steps on digits; to be copied."""
    root = tmp_path_factory.mktemp("trained")
    from core.training import train_unet, train_vae

    store, settings = RunStore(root / "runs"), tiny_settings(**TINY)
    folders: dict[str, Any] = {"data_dir": root / "data", "cache_dir": root / "cache", "store_root": store.root}
    vae = store.create("vae", settings, name="encoder")
    train_vae.train(vae, should_stop=lambda: False, **folders)
    unet = store.create("unet", settings, name="drawer", parents=(vae.id,))
    train_unet.train(unet, should_stop=lambda: False, **folders)
    return store.root


@pytest.fixture
def unet(trained: Path, store: RunStore) -> Run:
    shutil.copytree(trained, store.root)
    return next(run for run in store.list() if run.info.kind == "unet")


@pytest.fixture
def quick_judge(session_folder: Path) -> Iterator[None]:
    """Judges that are missing are trained for a second."""
    with brief_judges(min_steps=20, kept=session_folder):
        yield


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """The runs folder that the screens look at; empty at first."""
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LAB_IMPORTS", str(tmp_path / "imports"))
    monkeypatch.setenv("LAB_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("LAB_GALLERY", str(tmp_path / "gallery"))
    monkeypatch.setattr(overview_service, "FIRST", 1000)  # all pictures of a small set: no process measures more
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # Home.py sets it; put back after the test
    st.cache_data.clear()
    st.cache_resource.clear()
    return RunStore(tmp_path / "runs")


def held_up(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> threading.Event:
    """Calls of that function of a module wait for the event, and then go their way."""
    goes_on, real = threading.Event(), getattr(module, name)

    def slow(*given: Any, **named: Any) -> Any:
        goes_on.wait(60)
        return real(*given, **named)

    monkeypatch.setattr(module, name, slow)
    return goes_on


@pytest.fixture
def open_page(store: RunStore) -> OpenPage:
    """open_page("runs", run=id): the page as a browser would get it, through Home.py and its navigation."""

    def _open(page: str, **query: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "lab" / "Home.py"), default_timeout=120)
        app.user = {}
        app.switch_page(f"../pages/{page}.py")
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return _open
