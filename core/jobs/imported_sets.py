"""Removing an imported set: what trains on it now keeps it, and it goes in one step. Never imports PyTorch."""

from __future__ import annotations

from core import leftovers
from core.data.imports import imported_names, imports_dir
from core.errors import DataUnavailable, RunBusy
from core.jobs.engines.choose import observed_status
from core.runs.run import Run
from core.runs.store import RunStore


def remove_imported(store: RunStore, name: str) -> None:
    """Remove the imported set of that name, damaged ones too; runs that were trained on it stay, with their models.

    Raises DataUnavailable where there is none, RunBusy while an active run needs it, OSError where it cannot go.
    """
    if name not in imported_names():
        raise DataUnavailable(f"'{name}' is not an imported set", "see them with: python -m core data")
    for run in runs_on(store, name):
        if observed_status(run).state.is_active:
            raise RunBusy(f"run {run.id} needs '{name}' now", "wait for it, or stop it first")
    leftovers.remove_folder(imports_dir() / name)


def runs_on(store: RunStore, name: str) -> list[Run]:
    """Runs of that data set."""
    return [run for run in store.list() if run.info.dataset.get("name") == name]
