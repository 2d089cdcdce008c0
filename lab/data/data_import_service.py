"""Imports that a screen starts: one at a time, in the background, from an upload or from a path."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from core import leftovers
from core.data.importing.import_set import import_set
from core.data.imports import Imported, imports_dir
from core.errors import LabError
from core.jobs.imported_sets import remove_imported
from lab.services import background
from lab.services.background import Tell, Work
from lab.services.runs import open_store

WHAT = "import of a set"


def begin_import(
    *,
    name: str,
    title: str,
    licence: str,
    color: str,
    imported_by: str,
    source: Path,
    upload: tuple[str, memoryview] | None = None,
) -> Work:
    """Start it; what was uploaded (its name, its bytes) goes before `source`. The outcome is an Imported.

    Raises UsageError while another one is read.
    """
    kept = (upload[0], bytes(upload[1])) if upload else None

    def task(tell: Tell, cancelled: Callable[[], bool]) -> Imported:
        def read(path: Path, words: str) -> Imported:
            return import_set(
                path,
                name=name,
                title=title,
                licence=licence,
                color=color,
                imported_by=imported_by,
                source_words=words,
                progress=lambda fraction: tell("reading", fraction),
                cancelled=cancelled,
            )

        tell("reading", 0.0)
        if kept is None:
            return read(source, str(source))
        root = imports_dir()
        existed = root.is_dir()
        try:
            with leftovers.built_beside(root / "upload") as folder:
                path = folder / _file_name(kept[0])
                path.write_bytes(kept[1])
                return read(path, f"uploaded as {kept[0]}")
        finally:
            if not existed and root.is_dir() and not any(root.iterdir()):
                root.rmdir()

    return background.begin_alone(WHAT, imported_by, task, busy="another set is being imported")


def remove(name: str) -> None:
    """Remove an imported set for good. Raises a LabError in one sentence."""
    try:
        remove_imported(open_store(), name)
    except OSError as error:
        raise LabError(f"'{name}' could not be removed: {error.strerror or error}") from None


def _file_name(uploaded: str) -> str:
    """A name of our own that keeps what the sentences need: the stem's harmless letters, and the kind."""
    suffix = ".npz" if uploaded.lower().endswith(".npz") else ".zip"
    return (re.sub(r"[^\w-]+", "-", Path(uploaded).stem, flags=re.ASCII).strip("-")[:60] or "upload") + suffix
