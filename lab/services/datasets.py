"""The datasets of this server for every screen: which there are, which are here, and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from core.config.schema import DataSettings
from core.data import catalog
from core.data.catalog import CatalogEntry
from core.data.overview import Overview, open_overview, overview_folder
from core.errors import DataUnavailable
from lab.services.settings import current_settings, current_site

LOOK_AGAIN_S = 30.0
ADD = "add"  # the query parameter of Data that opens the form for own images


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One dataset of the list. problem: why it cannot be read, or ''."""

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


def forget_folders() -> None:
    """Look at the files again: a dataset was read or downloaded."""
    _folder.clear()  # type: ignore[attr-defined]


@st.cache_resource(max_entries=8, show_spinner=False)
def _read(folder: Path, changed_at: int) -> Overview | None:
    return open_overview(folder)
