"""A model folder of somebody else → one of ours under `site.models`: checked to the last number, whole or not at all.

A child process that the kernel limits reads and checks it (`core.model_folders.import_child`),
so that what is hostile can
take nothing from whoever asked. Nothing in it is run, and nothing is kept of a refused folder. No torch here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core import atomic, leftovers
from core.config.site import LONGEST_LOGIN
from core.errors import LabError, UsageError, quoted
from core.limited_child import Measured, run_limited
from core.model_folders.import_child import KEPT, LIMITS, ModelLimits, request_of
from core.model_folders.model_facts import (
    IMPORT_FILE,
    MAX_NAME,
    ModelFolderInfo,
    check_folder_name,
    find_model_folder,
    is_demo,
    list_model_folders,
    model_folder_info,
)
from core.model_folders.model_files import ModelRefused
from core.runs.provenance import current_user
from core.runs.rights import require_member, require_right
from core.runs.run import now_iso
from core.runs.store import storage_error
from core.typed_paths import kind_of


def import_model(
    source: Path,
    *,
    models_dir: Path,
    name: str = "",
    data_set: str = "",
    imported_by: str = "",
    limits: ModelLimits = LIMITS,
    cancelled: Callable[[], bool] = lambda: False,
    measured: Callable[[Measured], None] | None = None,
) -> ModelFolderInfo:
    """Keep a folder or zip as `models_dir/name`, by default under its own name.

    data_set: what a plain diffusers folder learned from, so that it can be evaluated; ours say it themselves.
    imported_by: the person, by default the current user. measured: told what the child took. Raises ModelRefused for
    anything damaged, foreign or hostile, UsageError for a name that is taken, NotAllowed; nothing is left then.
    """
    require_member(imported_by, "import a model")
    name = _checked_name(name or (source.stem if source.suffix.lower() == ".zip" else source.name), models_dir)
    kind_of(source, refused=ModelRefused, hint="give a model's folder, or a zip of it")
    target, existed = models_dir / name, models_dir.is_dir()
    try:
        with leftovers.built_beside(target) as temporary:
            request = request_of(source.absolute(), name=name, data_set=data_set, folder=temporary, limits=limits)
            outcome = _in_child(request, temporary, limits, cancelled, measured)
            if "found" not in outcome:
                kind = UsageError if outcome.get("is_usage") else ModelRefused
                raise kind(str(outcome["problem"]), str(outcome.get("hint", "")))
            owner = " ".join((imported_by or current_user()).split())[:LONGEST_LOGIN]
            facts = {"imported_by": owner, "imported_at": now_iso(), "source": quoted(source.name, MAX_NAME)}
            atomic.write_json(temporary / KEPT / IMPORT_FILE, facts)
            if target.exists():
                raise UsageError(f"name: '{name}' was imported meanwhile", "choose another name")
            os.rename(temporary / KEPT, target)
        atomic.fsync_dir(models_dir)
    except OSError as error:
        raise storage_error(error, target) from None
    finally:
        if not existed:
            with contextlib.suppress(OSError):
                models_dir.rmdir()
    return model_folder_info(target)


def delete_model(models_dir: Path, reference: str, *, by: str) -> str:
    """Remove an imported model for good; returns its name. Raises UsageError for the demo and for none of that name,
    NotAllowed."""
    info = find_model_folder(models_dir, reference)
    if is_demo(info):
        raise UsageError(f"model '{info.name}': comes with the lab", "only imported models can be deleted")
    require_right(info.owner, by, f"remove model {info.name}")
    try:
        leftovers.remove_folder(models_dir / info.name)
    except OSError as error:
        raise LabError(f"model '{quoted(info.name)}': cannot be deleted: {error.strerror}") from None
    return info.name


def _in_child(
    request: str,
    folder: Path,
    limits: ModelLimits,
    cancelled: Callable[[], bool],
    measured: Callable[[Measured], None] | None,
) -> dict[str, Any]:
    paths = {key: value for key, value in os.environ.items() if key.startswith("LAB_") or key == "HOME"}
    return run_limited(
        "core.model_folders.import_child",
        request,
        folder,
        wall_s=limits.wall_s,
        cpu_s=limits.cpu_s,
        what="a model",
        environment={**paths, "HF_HUB_OFFLINE": "1"},
        cancelled=cancelled,
        measured=measured,
    )


def _checked_name(name: str, models_dir: Path) -> str:
    check_folder_name(name)
    if name in (info.name for info in list_model_folders(models_dir)) or (models_dir / name).exists():
        raise UsageError(f"name: there is already a model '{name}'", "choose another name")
    return name
