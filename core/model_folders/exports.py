"""Exports that a run keeps: made, listed, packed, sent to a hub, removed; each is one of the run's events.

A folder of `core.model_folders.export` under the run's `exports/NAME`; it goes with the run.
"""

from __future__ import annotations

import contextlib
import io
import logging
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core import atomic, leftovers
from core.errors import LabError, RunNotFound, UsageError, quoted
from core.model_folders import hub
from core.model_folders.model_facts import ModelFolderInfo, check_folder_name, model_folder_info
from core.model_folders.model_files import read_model_files
from core.runs.rights import require_right
from core.runs.run import Run
from core.runs.store import storage_error

Progress = Callable[[str, float], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExportWish:
    """What a screen asks to be exported, under which name. sampler: '' for the run's own."""

    name: str
    step: int
    weights: Literal["ema", "raw"]
    licence: str
    sampler: str
    with_judge: bool


def list_exports(run: Run) -> list[ModelFolderInfo]:
    """The run's exports, newest first; what cannot be read is left out."""
    found = []
    for folder in _folders(run):
        with contextlib.suppress(LabError, OSError):
            found.append(model_folder_info(folder))
    return sorted(found, key=lambda info: (info.facts.created_at, info.name), reverse=True)


def _folders(run: Run) -> list[Path]:
    """Without one that is being written, and what is not of this run."""
    with contextlib.suppress(OSError):  # there is none yet, or the run was moved to the trash
        return [path for path in run.exports_dir.iterdir() if not (path.name.startswith(".") or path.is_symlink())]
    return []


def check_free(run: Run, name: str) -> Path:
    """Where an export of that name would lie. Raises UsageError for a name that is taken or no folder's."""
    target: Path = run.exports_dir / check_folder_name(name)
    if target.exists():
        raise UsageError(f"name: there is already an export '{name}' of this run", "choose another name")
    return target


def keep_export(
    run: Run,
    name: str,
    make: Callable[[Progress], Mapping[str, bytes]],
    *,
    by: str,
    progress: Progress = lambda stage, share: None,
) -> ModelFolderInfo:
    """Put what `make` makes of a checkpoint into the run's `exports/name`, whole or not at all.

    by: who did it, for the events. progress: told what is done and how far it is (0 to 1), as `make` is; what it
    raises ends the export. Raises UsageError for a name that is no folder's, and what `check_free` and `make` raise.
    """
    require_right(run.info.owner, by, f"export run {run.id}")
    target = check_free(run, name)
    files = make(progress)
    progress("writing it down", 0.97)  # the last moment at which it can be cancelled
    if not (run.folder / "run.json").is_file():
        raise RunNotFound(f"{run.id}: was deleted meanwhile, and nothing was exported", "restore it from the trash")
    try:
        atomic.make_folder(run.exports_dir, parents=False)
        leftovers.sweep(run.exports_dir)
        atomic.write_folder(target, files)
    except OSError as error:
        raise storage_error(error, target) from None
    info = model_folder_info(target)
    run.put_on_record("exported", by=by, name=name, step=info.facts.step, weights=info.facts.weights)
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
    require_right(run.info.owner, by, f"push an export of run {run.id}")
    hub.check_repo_id(repo_id, "repository")
    pushed = hub.push(info.path, repo_id, private=private)
    run.put_on_record("pushed to a hub", by=by, name=info.name, url=pushed.url, private=pushed.is_private)
    return pushed


def remove_export(run: Run, name: str, *, by: str) -> None:
    """Take one away for good. Raises UsageError for none of that name, LabError when it cannot be removed."""
    require_right(run.info.owner, by, f"remove an export of run {run.id}")
    target: Path = run.exports_dir / check_folder_name(name)
    try:
        leftovers.remove_folder(target, within=run.folder)
    except FileNotFoundError:
        raise UsageError(f"{run.id}: has no export '{name}'", "it may have been removed already") from None
    except OSError as error:
        raise LabError(f"export '{name}': cannot be removed: {error.strerror}") from None
    run.put_on_record("export removed", by=by, name=name)
