"""What the Data page does: images are read, and fetched, in other processes, so that the server never does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from core.bound_child import bound_child
from core.compute.questions import DESCRIBE_DATASET
from core.config.schema import DataSettings
from core.data import catalog
from core.data.overview import described_path
from core.errors import DataUnavailable, LabError
from core.home import code_root
from lab.services import background
from lab.services.background import Tell, Work
from lab.services.computing import asked
from lab.services.datasets import forget_folders
from lab.services.settings import current_site
from lab.services.typed_paths import own_limits

ERROR = "error: "
CANCEL_S = 0.2


def look(data: DataSettings, *, download: bool = False) -> Work:
    """Read the set, after fetching it when asked to; the overview is kept then.

    The result for a set of one's own is the folder of its overview, see `datasets.opened`.
    """
    site = current_site()

    def own(tell: Tell, cancelled: Callable[[], bool]) -> Path:
        tell("Starting", 0.0)

        def report(stage: str, fraction: float) -> None:
            tell(stage.capitalize(), fraction)

        places = {"data_dir": site.data, "cache_dir": site.cache}
        return described_path(data, **places, report=report, cancelled=cancelled, limits=own_limits())

    def published(tell: Tell, cancelled: Callable[[], bool]) -> None:
        try:
            if download:
                tell("Fetching", 0.0)
                _fetch(data.name, cancelled)
            asked(DESCRIBE_DATASET, data, site)(tell, cancelled)
        finally:
            forget_folders()

    return background.begin(work_key(data), own if catalog.entry(data.name).needs_path else published)


def _fetch(name: str, cancelled: Callable[[], bool]) -> None:
    """By a process that can be killed: nothing else stops a download. Raises DataUnavailable."""
    words = [sys.executable, "-m", "core", "data", name, "--download", "--json"]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with bound_child(words, cwd=code_root(), text=True, **streams) as child:
        told = None
        while told is None:
            if cancelled():
                raise LabError("it was cancelled")
            with contextlib.suppress(subprocess.TimeoutExpired):
                _, told = child.communicate(timeout=CANCEL_S)
    if child.returncode:
        problems = [line.removeprefix(ERROR) for line in told.splitlines() if line.startswith(ERROR)]
        raise DataUnavailable(problems[-1] if problems else f"it ended with code {child.returncode}")


def work_key(data: DataSettings) -> str:
    """Names the work on a set, for whoever looks at it."""
    return f"look-{data.name}-{data.path or ''}"


def fetch_problem() -> str:
    """Why nothing can be fetched into the data folder, or ''."""
    folder = current_site().data
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    read_only = not os.access(nearest, os.W_OK) or (folder.is_dir() and not folder.stat().st_mode & 0o222)
    return f"the data folder {folder} is read-only" if read_only else ""


def problem_of(work: Work) -> LabError | None:
    """What went wrong, once; None while it runs or when it went well."""
    if work.is_done and work.problem:
        background.forget(work)
        return work.problem
    return None
