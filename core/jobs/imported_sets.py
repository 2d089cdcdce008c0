"""Removing an imported set: what trains on it now keeps it, and it goes in one step. Never imports PyTorch."""

from __future__ import annotations

from core import leftovers
from core.data.imports import imported_names, imports_dir, read_imported
from core.errors import DataUnavailable, RunBusy
from core.home import PROGRAM
from core.jobs.engines.choose import observed_status
from core.runs.rights import require_right
from core.runs.run import Run
from core.runs.store import RunStore


def remove_imported(store: RunStore, name: str, *, by: str) -> None:
    """Remove the imported set of that name, damaged ones too; runs that were trained on it stay, with their models.

    Raises DataUnavailable where there is none, RunBusy while an active run needs it, NotAllowed, OSError where it
    cannot go.
    """
    if name not in imported_names():
        raise DataUnavailable(f"'{name}' is not an imported set", f"see them with: {PROGRAM} data")
    require_right(_importer(name), by, f"remove dataset {name}")
    for run in runs_on(store, name):
        if observed_status(run).state.is_active:
            raise RunBusy(f"run {run.id} needs '{name}' now", "wait for it, or stop it first")
    leftovers.remove_folder(imports_dir() / name)


def _importer(name: str) -> str:
    """Who imported it; '' for a damaged one."""
    try:
        return read_imported(name).imported_by
    except DataUnavailable:
        return ""


def runs_on(store: RunStore, name: str) -> list[Run]:
    """Runs of that dataset."""
    return [run for run in store.list() if run.info.dataset.get("name") == name]
