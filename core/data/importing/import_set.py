"""Import of a folder, a zip or an npz: read by a limited child process, there whole under its name or not at all."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core import atomic, leftovers
from core.config.schema import one_spelling
from core.data.catalog import names
from core.data.importing.import_child import request_of
from core.data.imports import FACTS, FORMAT, NAME, Imported, imports_dir, read_imported
from core.data.limits import LIMITS, ReadLimits
from core.data.reader.reading_of_set import Answers, Reading, reading_from
from core.errors import DataUnavailable, LabError, UsageError, quoted
from core.limited_child import PROGRESS, RESULT, Measured, problem_of, run_limited
from core.runs.provenance import current_user
from core.runs.rights import require_member
from core.typed_paths import kind_of

NO_ANSWERS = Answers()
COLORS = ("native", "gray", "rgb")


def import_set(
    source: Path,
    *,
    name: str,
    title: str = "",
    licence: str = "",
    color: str = "native",
    imported_by: str = "",
    source_words: str = "",
    folder: Path | None = None,
    answers: Answers = NO_ANSWERS,
    limits: ReadLimits = LIMITS,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    measured: Callable[[Measured], None] | None = None,
    shown: Callable[[Reading], None] = lambda reading: None,
) -> Imported:
    """Keep `source` (a folder of pictures, a zip of one, or an .npz) as the dataset `name`.

    color: native refuses a mixture of grey and coloured pictures; gray and rgb turn all into one. imported_by: the
    person. source_words: where it came from, instead of the file's name. folder: the imports folder. answers: what
    somebody said about the set. shown: gets the reading before anything is kept. measured: told what the child took,
    also when it failed. Raises UsageError, NotAllowed or DataUnavailable; then nothing is left.
    """
    require_member(imported_by, f"import {name}")
    color = str(one_spelling(color))
    check_import_name(name)
    kind_of(source, refused=UsageError)
    root = folder or imports_dir()
    target = root / name
    existed = root.is_dir()
    try:
        with leftovers.built_beside(target) as temporary:
            request = request_of(source.absolute(), color=color, folder=temporary, limits=limits, answers=answers)
            outcome = run_limited(
                "core.data.importing.import_child",
                request,
                temporary,
                wall_s=limits.wall_s,
                cpu_s=limits.cpu_s,
                what="a set of images",
                progress=progress or (lambda fraction: None),
                cancelled=cancelled,
                measured=measured,
            )
            found = _found(outcome, source)
            shown(reading_from(found["reading"]))
            _check_enough(found, source)
            facts = {
                "format": FORMAT,
                "title": title.strip() or name,
                "licence": licence.strip() or "not stated",
                "source": source_words.strip() or source.name,
                "imported_by": imported_by or current_user(),
                "imported_at": datetime.now(UTC).isoformat(timespec="seconds"),
                **found,
            }
            for leftover in (RESULT, PROGRESS):
                (temporary / leftover).unlink(missing_ok=True)
            atomic.write_json(temporary / FACTS, facts)
            if target.exists():
                raise UsageError(f"name: '{name}' was imported meanwhile", "choose another name")
            os.rename(temporary, target)
        atomic.fsync_dir(root)
    except OSError as error:
        raise LabError(f"site.imports: cannot write to {root} ({error.strerror or error})") from None
    finally:
        if not existed:
            with contextlib.suppress(OSError):
                root.rmdir()
    return read_imported(name, root)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A set that is not imported yet: its reading, and (class, PNG) of an image of each of its first classes."""

    reading: Reading
    images: tuple[tuple[str, bytes], ...]


def look_at(
    source: Path,
    *,
    answers: Answers = NO_ANSWERS,
    limits: ReadLimits = LIMITS,
    progress: Callable[[float], None] = lambda fraction: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Seen:
    """What an import of `source` would store, by the same process; nothing is stored.

    Raises UsageError, also for a question that nobody answered, or DataUnavailable.
    """
    kind_of(source, refused=UsageError)
    with tempfile.TemporaryDirectory(prefix="lab-reading-") as folder:
        place = Path(folder)
        outcome = run_limited(
            "core.data.importing.import_child",
            request_of(source.absolute(), look=True, color="native", folder=place, limits=limits, answers=answers),
            place,
            wall_s=limits.wall_s,
            cpu_s=limits.cpu_s,
            what="a set of images",
            progress=progress,
            cancelled=cancelled,
        )
    found = _found(outcome, source)
    images = tuple((str(name), base64.b64decode(data)) for name, data in found["images"])
    return Seen(reading=reading_from(found["reading"]), images=images)


def _found(outcome: dict[str, Any], source: Path) -> dict[str, Any]:
    """What the process found. Raises its problem as what it is, beginning with the name of the source."""
    if "found" not in outcome:
        name = quoted(source.name)
        error = problem_of(outcome, begins=name)
        raise error.reworded(f"{name}: {error.message}") if "kind" in outcome else error
    found: dict[str, Any] = outcome["found"]
    return found


def suggested_name(text: str) -> str:
    """A name close to what a file or folder is called, without its suffix; '' where no character fits."""
    return re.sub(r"[^a-z0-9_-]+", "-", re.sub(r"\.(zip|np[yz]|parquet|[ct]sv|gz)$", "", text.lower())).strip("-_")[:40]


def check_import_name(name: str) -> None:
    """Raises UsageError for a name that `data.name` could not have, or that is taken."""
    if not NAME.fullmatch(name):
        close = suggested_name(name)
        hint = f"'{close}' would do" if NAME.fullmatch(close) else "such as flowers-2"
        raise UsageError(f"name: '{quoted(name)}' is not made of small letters, digits, - and _ (at most 40)", hint)
    if name in names():
        raise UsageError(f"name: there is already a dataset '{name}'", "choose another name")


def _check_enough(found: dict[str, Any], source: Path) -> None:
    """At least one class must be able to give a held-out picture, unless there is a test split."""
    count, classes = found["parts"]["train"]["count"], len(found["class_names"])
    if "heldout" not in found["parts"] and count <= classes:
        raise DataUnavailable(
            f"{quoted(source.name)}: no class has two images, so none can be held out", "add some images"
        )
