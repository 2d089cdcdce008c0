"""Paths that somebody types into a page: they lead where `site.data_roots` allows, unlike those of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.config.schema import DataSettings
from core.config.site import resolve_path
from core.data import catalog
from core.data.arrays import check_own_files
from core.data.limits import OWN_LIMITS, ReadLimits
from core.typed_paths import inside
from lab.services.settings import current_settings, current_site

PATH = "data.path"


def in_roots(path: Path) -> Path:
    """A path that somebody typed, without links where roots are set. Raises DataUnavailable when it leads out."""
    return inside(path, current_site().data_roots)


def own_limits() -> ReadLimits:
    """How a path of one's own is read for a screen."""
    return replace(OWN_LIMITS, roots=tuple(map(str, current_site().data_roots)))


def check_typed(changes: Mapping[str, Any]) -> None:
    """Raises DataUnavailable for settings that name a data.path out of the roots; its files are not looked at."""
    if isinstance(path := changes.get(PATH), str) and path:
        inside(resolve_path(path), current_site().data_roots, where=f"{PATH}: ")


def check_files(data: DataSettings) -> None:
    """Raises DataUnavailable when files of a typed data.path lie out of the roots; that of config.yaml may do so."""
    limits = own_limits()
    if limits.roots and catalog.entry(data.name).needs_path and data.path != current_settings().data.path:
        check_own_files(data, limits=limits)
