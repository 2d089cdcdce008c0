"""What all tests share: one thread each, no imported sets, an order that keeps every core busy to the end, and which
tests the default suite leaves out: real browsers, whole processes and killed trainings, which CI runs (`--whole`)."""

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
    "core/jobs/test_comparison_job.py",
    "core/jobs/test_queue.py",
    "core/evaluation/test_folder_judge.py",
    "core/sampling/test_stock_venv.py",
)
WHOLE = "LAB_TESTS_WHOLE"  # how the choice reaches the workers
BROWSER_EVERY = 3  # one file of browser tests after so many others, until there is none left
BROWSERS = 2  # windows of Chromium at a time, whatever the number of workers
ROOT = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--whole`: long files too, as where CI is set."""
    parser.addoption("--whole", action="store_true", help="long tests too: real browsers, whole processes, kills")


def pytest_configure(config: pytest.Config) -> None:
    """Only `pytest` without a path leaves something out: a file that is named is run."""
    if not hasattr(config, "workerinput"):
        named = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
        os.environ[WHOLE] = "1" if named or config.option.whole or os.environ.get("CI") else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whole files, long ones first, browser tests among the others (`--no-loadscope-reorder` leaves it so)."""
    if not os.environ[WHOLE]:
        left_out = [item for item in items if is_long(item.path.relative_to(ROOT).as_posix())]
        items[:] = [item for item in items if not is_long(item.path.relative_to(ROOT).as_posix())]
        config.hook.pytest_deselected(items=left_out)
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path.relative_to(ROOT).as_posix(), []).append(item)
    items[:] = [item for name in in_good_order(list(files)) for item in files[name]]


def is_long(name: str) -> bool:
    """Whether the default suite leaves this file out; its name is relative to tests/."""
    return name in LONG or name.startswith("browser/")


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
