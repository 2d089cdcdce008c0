"""Datasets for a screen. Images are read, and fetched, in other processes, so that the server never does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from core.bound_child import bound_child
from core.compute.questions import DESCRIBE_DATASET
from core.config.schema import DataSettings, project_root
from core.data import catalog
from core.data.catalog import CatalogEntry
from core.data.overview import Overview, described_path, open_overview, overview_folder
from core.errors import DataUnavailable, LabError
from lab.services import background
from lab.services.background import Tell, Work
from lab.services.computing import asked
from lab.services.settings import current_settings, current_site
from lab.services.typed_paths import own_limits

LOOK_AGAIN_S = 30.0
ERROR = "error: "
CANCEL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One set of the list. problem: why it cannot be read, or ''."""

    name: str
    entry: CatalogEntry | None
    is_here: bool
    problem: str = ""


def listed() -> list[Listed]:
    """Every set: what is here first, that of config.yaml before all, then one's own files, then what can be fetched."""
    data_dir = current_site().data
    found = []
    for name in catalog.names():
        try:
            entry = catalog.entry(name)
            found.append(Listed(name=name, entry=entry, is_here=catalog.is_present(name, data_dir)))
        except DataUnavailable as error:
            found.append(Listed(name=name, entry=None, is_here=False, problem=str(error)))
    usual = current_settings().data.name

    def rank(each: Listed) -> int:
        own = each.entry is not None and each.entry.needs_path
        return 0 if each.is_here and each.name == usual else 1 if each.is_here and not own else 2 if own else 3

    return sorted(found, key=rank)


def is_here(name: str) -> bool:
    """Whether it can be read now: a download may have ended meanwhile."""
    return catalog.is_present(name, current_site().data)


def data_settings(name: str, path: str) -> DataSettings:
    """The settings of config.yaml with this set; nothing is downloaded."""
    changes = {"name": name, "path": path or None, "download": False}
    return DataSettings.model_validate({**current_settings().data.model_dump(), **changes})


def kept(data: DataSettings) -> Overview | None:
    """The overview when it was made before. Raises DataUnavailable when the set is not here."""
    site = current_site()
    return opened(_folder(data.name, data.holdout_fraction, str(site.data), str(site.cache)))


@st.cache_data(ttl=LOOK_AGAIN_S, max_entries=32, show_spinner=False)
def _folder(name: str, holdout_fraction: float, data_dir: str, cache_dir: str) -> Path:
    """Where its overview would be: looks at every file of the set, so not at each rerun."""
    data = data_settings(name, "").model_copy(update={"holdout_fraction": holdout_fraction})
    return overview_folder(data, data_dir=Path(data_dir), cache_dir=Path(cache_dir))


def opened(folder: Path) -> Overview | None:
    """The overview that lies there, or None."""
    return _read(folder, folder.stat().st_mtime_ns) if folder.is_dir() else None


@st.cache_resource(max_entries=8, show_spinner=False)
def _read(folder: Path, changed_at: int) -> Overview | None:
    return open_overview(folder)


def look(data: DataSettings, *, download: bool = False) -> Work:
    """Read the set, after fetching it when asked to; the overview is kept then.

    The result for a set of one's own is the folder of its overview, see `opened`.
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
            _folder.clear()  # type: ignore[attr-defined]

    return background.begin(work_key(data), own if catalog.entry(data.name).needs_path else published)


def _fetch(name: str, cancelled: Callable[[], bool]) -> None:
    """By a process that can be killed: nothing else stops a download. Raises DataUnavailable."""
    words = [sys.executable, "-m", "core", "data", name, "--download", "--json"]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with bound_child(words, cwd=project_root(), text=True, **streams) as child:
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
