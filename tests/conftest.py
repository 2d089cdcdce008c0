"""What all tests share: one thread each, no imported sets, and two windows of Chromium at a time."""

from __future__ import annotations

import fcntl
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forked, models

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["LAB_IMPORTS"] = f"/nonexistent/imports-of-{os.getpid()}"  # what lies in this checkout is nothing to a test

gc.disable()  # until every module is imported: what they make stays

WINDOWS = 2


def pytest_collection_finish() -> None:
    """What was imported is never looked through again for garbage."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One temporary folder for the whole run, the same for all its workers."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(autouse=True)
def _a_window_at_a_time(request: pytest.FixtureRequest, session_folder: Path) -> Iterator[None]:
    """Browser tests of all workers share WINDOWS locks, so that no more of them run at once."""
    if request.node.get_closest_marker("browser") is None:
        yield
        return
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    with (session_folder / f"window-{worker % WINDOWS}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def trained_lab(session_folder: Path) -> Path:
    """The folder of a lab (runs, cache, data) with a trained tiny VAE and U-Net, for all workers: to be copied."""
    return models.trained_lab(session_folder)


@pytest.fixture(scope="session")
def forks(session_folder: Path) -> Iterator[None]:
    """Python processes that have PyTorch already: see tests.forked."""
    with forked.serving(session_folder):
        yield
