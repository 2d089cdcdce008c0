"""Imports that a screen starts: one at a time, in the background, from an upload or from a path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from core.data.importing.import_set import NO_ANSWERS, Seen, import_set, look_at
from core.data.imports import Imported, imports_dir
from core.data.reader.reading_of_set import Answers
from core.errors import LabError
from core.jobs.imported_sets import remove_imported
from lab.services import background
from lab.services.background import Tell, Work
from lab.services.runs import open_store
from lab.services.typed_paths import in_roots
from lab.services.uploads import uploaded_files

WHAT = "import of a set"
LOOK = "look at a set"


def begin_import(
    *,
    name: str,
    title: str,
    licence: str,
    color: str,
    imported_by: str,
    source: Path,
    uploads: Sequence[tuple[str, memoryview]] = (),
    answers: Answers = NO_ANSWERS,
) -> Work:
    """Start it; what was uploaded (names and bytes) goes before `source`. The outcome is an Imported.

    Raises UsageError while another one is read, DataUnavailable for a source out of site.data_roots.
    """
    kept = [(file, bytes(data)) for file, data in uploads]
    given = source if kept else in_roots(source)

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
                answers=answers,
                progress=lambda fraction: tell("reading", fraction),
                cancelled=cancelled,
            )

        tell("reading", 0.0)
        if not kept:
            return read(given, str(source))
        with uploaded_files(kept, imports_dir()) as path:
            more = f" and {len(kept) - 1} more" if len(kept) > 1 else ""
            return read(path, f"uploaded as {kept[0][0]}{more}")

    return background.begin_alone(WHAT, imported_by, task, busy="another set is being imported")


def begin_look(
    *,
    source: Path,
    uploads: Sequence[tuple[str, memoryview]] = (),
    answers: Answers = NO_ANSWERS,
    by: str,
) -> Work:
    """Read what an import would take, and store nothing. The outcome is a Seen. Raises as `begin_import`."""
    kept = [(file, bytes(data)) for file, data in uploads]
    given = source if kept else in_roots(source)

    def task(tell: Tell, cancelled: Callable[[], bool]) -> Seen:
        tell("reading", 0.0)
        if not kept:
            return look_at(given, answers=answers, cancelled=cancelled)
        with uploaded_files(kept, imports_dir()) as path:
            return look_at(path, answers=answers, cancelled=cancelled)

    return background.begin(background.own_key(LOOK, by), task)


def remove(name: str, by: str) -> None:
    """Remove an imported set for good. Raises a LabError in one sentence."""
    try:
        remove_imported(open_store(), name, by=by)
    except OSError as error:
        raise LabError(f"'{name}' could not be removed: {error.strerror or error}") from None
