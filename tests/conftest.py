"""What all tests share: one thread each, no imported sets, and an order that keeps every core busy to the end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["LAB_IMPORTS"] = f"/nonexistent/imports-of-{os.getpid()}"  # what lies in this checkout is nothing to a test

LONG = (  # files that take minutes, mostly of waiting: they begin first, the longest at the top
    "core/jobs/test_supervision.py",
    "core/training/test_ranks.py",
    "core/test_command_line.py",
    "core/evaluation/test_comparison.py",
    "core/training/test_resume.py",
    "core/evaluation/test_judge.py",
)
BROWSER_EVERY = 3  # one file of browser tests after so many others, until there is none left
BROWSERS = 2  # windows of Chromium at a time, whatever the number of workers
ROOT = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole files, long ones first, browser tests among the others (`--no-loadscope-reorder` leaves it so)."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path.relative_to(ROOT).as_posix(), []).append(item)
    items[:] = [item for name in in_good_order(list(files)) for item in files[name]]


def in_good_order(names: list[str]) -> list[str]:
    """Names of test files, relative to tests/, in the order in which they begin."""
    long = [name for name in LONG if name in names]
    browser = [name for name in names if name.startswith("browser/")]
    order: list[str] = []
    for place, name in enumerate([*long, *(name for name in names if name not in long and name not in browser)]):
        order.append(name)
        if place % BROWSER_EVERY == 0 and browser:
            order.append(browser.pop(0))
    return order + browser


@pytest.fixture(scope="session")
def _windows() -> list[Path]:
    """Files whose locks stand for the windows that may be open at a time, shared by all workers of a run."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    return [Path(tempfile.gettempdir()) / f"lab-tests-{run}-window-{number}" for number in range(BROWSERS)]


@pytest.fixture(autouse=True)
def _a_window_at_a_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """Browser tests wait until fewer than BROWSERS others are under way."""
    if request.node.get_closest_marker("browser") is None:
        yield
        return
    paths = request.getfixturevalue("_windows")
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(path.open("w")) for path in paths]
        while not any(taken(file.fileno()) for file in files):
            time.sleep(0.1)
        yield
    if not os.environ.get("PYTEST_XDIST_TESTRUNUID"):
        for path in paths:
            path.unlink(missing_ok=True)


def taken(descriptor: int) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
