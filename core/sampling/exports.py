"""Exports that a run keeps: made, listed, packed, sent to a hub, removed; each is one of the run's events.

A folder of `core.sampling.export` under the run's `exports/NAME`; it goes with the run. torch only while one is made.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from core import atomic
from core.errors import LabError, RunNotFound, UsageError, quoted
from core.runs.run import Run
from core.runs.store import storage_error
from core.sampling import hub
from core.sampling.model_facts import ModelFolderInfo, check_folder_name, model_folder_info
from core.sampling.model_files import read_model_files

if TYPE_CHECKING:
    from core.sampling.export import ExportOptions, Progress


def list_exports(run: Run) -> list[ModelFolderInfo]:
    """The run's exports, newest first; what cannot be read is left out."""
    found = []
    for folder in run.exports_dir.iterdir() if run.exports_dir.is_dir() else ():
        if folder.name.startswith(".") or folder.is_symlink():  # one that is being written, or is not of this run
            continue
        try:
            found.append(model_folder_info(folder))
        except LabError:
            continue
    return sorted(found, key=lambda info: (info.facts.created_at, info.name), reverse=True)


def check_free(run: Run, name: str) -> Path:
    """Where an export of that name would lie. Raises UsageError for a name that is taken or no folder's."""
    target: Path = run.exports_dir / check_folder_name(name)
    if target.exists():
        raise UsageError(f"name: there is already an export '{name}' of this run", "choose another name")
    return target


def keep_export(
    run: Run, name: str, options: ExportOptions, *, by: str, progress: Progress = lambda stage, share: None
) -> ModelFolderInfo:
    """Export a checkpoint into the run's `exports/name`, whole or not at all.

    by: who did it, for the events. progress: told what is done and how far it is (0 to 1); what it raises ends the
    export. Raises UsageError for a name that is no folder's, and what `check_free` and `files_of_run` raise.
    """
    target = check_free(run, name)

    from core.sampling.export import files_of_run

    files = files_of_run(run, options, progress)
    if not (run.folder / "run.json").is_file():
        raise RunNotFound(f"{run.id}: was deleted meanwhile, and nothing was exported", "restore it from the trash")
    try:
        run.exports_dir.mkdir(exist_ok=True)
        atomic.write_folder(target, files)
    except OSError as error:
        raise storage_error(error, target) from None
    info = model_folder_info(target)
    run.add_event("exported", by=by, name=name, step=info.facts.step, weights=info.facts.weights)
    return info


def packed(info: ModelFolderInfo) -> bytes:
    """A zip of the folder, under its name; `import-model` takes it. Raises a LabError when it cannot be read."""
    try:
        files = read_model_files(info.path)
    except OSError as error:
        raise LabError(f"export '{quoted(info.name)}': cannot be read: {error.strerror}") from None
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:  # weights hardly get smaller
        for path, data in sorted(files.items()):
            archive.writestr(f"{info.name}/{path}", data)
    return out.getvalue()


def size_of(info: ModelFolderInfo) -> int:
    """Bytes of its files, as its facts say."""
    return sum(fact.size for fact in info.facts.files.values())


def push_export(run: Run, info: ModelFolderInfo, repo_id: str, *, private: bool, by: str) -> hub.Pushed:
    """Put it into a new repository of the model hub. Raises UsageError for a name that is none, PushFailed."""
    hub.check_repo_id(repo_id, "repository")
    pushed = hub.push(info.path, repo_id, private=private)
    run.add_event("pushed to a hub", by=by, name=info.name, url=pushed.url, private=pushed.is_private)
    return pushed


def remove_export(run: Run, name: str, *, by: str) -> None:
    """Take one away for good. Raises UsageError for none of that name, LabError when it cannot be removed."""
    target: Path = run.exports_dir / check_folder_name(name)
    try:
        atomic.remove_folder(target)
    except FileNotFoundError:
        raise UsageError(f"{run.id}: has no export '{name}'", "it may have been removed already") from None
    except OSError as error:
        raise LabError(f"export '{name}': cannot be removed: {error.strerror}") from None
    run.add_event("export removed", by=by, name=name)
