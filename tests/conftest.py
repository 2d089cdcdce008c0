"""What all tests share: one thread each, no imported sets, scripts run as the lab runs them, and two windows of
Chromium at a time."""

from __future__ import annotations

import gc
import itertools
import os
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.runs.lock import try_lock
from tests import forked, models

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["LAB_IMPORTS"] = f"/nonexistent/imports-of-{os.getpid()}"  # what lies in this checkout is nothing to a test

gc.disable()  # until every module is imported: what they make stays

WINDOWS = 2
# How the lab runs the scripts of its pages. Streamlit's own way parses them as trees, in which threads that read arrays
# get into each other's way ("AST constructor recursion depth mismatch"), and looks for garbage after each.
RUNNER: dict[str, bool] = tomllib.loads((ROOT / "lab" / ".streamlit" / "config.toml").read_text())["runner"]


def pytest_collection_finish() -> None:
    """Pages run as in life; what was imported is never looked through again for garbage."""
    if config := sys.modules.get("streamlit.config"):
        for name, value in RUNNER.items():
            config.set_option(f"runner.{name}", value)
    gc.freeze()
    gc.enable()


def dealt(long: list[Any], others: list[Any], workers: int) -> list[Any]:
    """Both in one list, of which xdist gives each worker a share in turn: WINDOWS shares begin with their part of
    `long`, so that nobody waits for a window later, and nothing long is left for the end."""
    found: list[Any] = []
    rest, hands = list(others), min(WINDOWS, workers)
    for number in range(workers):
        share = (len(long) + len(others) - len(found)) // (workers - number)
        own = long[number::hands] if number < hands else []
        few = max(0, share - len(own))
        found += own + rest[:few]
        del rest[:few]
    return found + rest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests take longest: they come first."""
    long = [item for item in items if item.get_closest_marker("browser")]
    others = [item for item in items if not item.get_closest_marker("browser")]
    items[:] = dealt(long, others, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


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
    names = itertools.cycle(f"window-{number}.lock" for number in range(WINDOWS))
    while (lock := try_lock(session_folder / next(names))) is None:
        time.sleep(0.05)
    yield
    lock.release()


@pytest.fixture(scope="session")
def trained_lab(session_folder: Path) -> Path:
    """The folder of a lab (runs, cache, data) with a trained tiny VAE and U-Net, for all workers: to be copied."""
    return models.trained_lab(session_folder)


@pytest.fixture(scope="session")
def forks(session_folder: Path) -> Iterator[None]:
    """Python processes that have PyTorch already: see tests.forked."""
    with forked.serving(session_folder):
        yield
