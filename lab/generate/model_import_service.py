"""Imports of models that a screen starts: one at a time, in the background, from an upload or from a path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.model_folders.import_model import delete_model, import_model
from core.model_folders.model_facts import ModelFolderInfo, is_demo, list_model_folders
from lab.services import background
from lab.services.background import Tell, Work
from lab.services.settings import current_site
from lab.services.typed_paths import in_roots
from lab.services.uploads import uploaded_files

WHAT = "import of a model"


def begin_model_import(
    *, source: Path, name: str, data_set: str, imported_by: str, upload: tuple[str, memoryview] | None
) -> Work:
    """Start it; what was uploaded (its name, its bytes) goes before `source`. The outcome is a ModelFolderInfo.

    Raises UsageError while another one is read, DataUnavailable for a source out of site.data_roots.
    """
    kept = (upload[0], bytes(upload[1])) if upload else None
    given = source if kept else in_roots(source)

    def task(tell: Tell, cancelled: Callable[[], bool]) -> ModelFolderInfo:
        tell("checking every file and number", 0.3)
        folder = current_site().models

        def read(path: Path) -> ModelFolderInfo:
            return import_model(
                path, models_dir=folder, name=name, data_set=data_set, imported_by=imported_by, cancelled=cancelled
            )

        if kept is None:
            return read(given)
        with uploaded_files([kept], folder) as path:
            return read(path)

    return background.begin_alone(WHAT, imported_by, task, busy="another model is being imported")


def imported_models() -> list[ModelFolderInfo]:
    """Every model folder of this lab but the bundled demo, by name."""
    return [info for info in list_model_folders(current_site().models) if not is_demo(info)]


def remove_model(model_id: str, by: str) -> None:
    """Take an imported model away for good. Raises a LabError in one sentence."""
    delete_model(current_site().models, model_id, by=by)
