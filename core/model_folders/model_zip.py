"""A zipped model folder as plain bytes: checked like any archive of a stranger, read into memory, never unpacked."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from core.data.archive import open_archive
from core.data.limits import LIMITS
from core.errors import DataUnavailable, quoted
from core.model_folders.model_files import (
    MAX_DEPTH,
    MAX_FILES,
    MAX_TOTAL_BYTES,
    ModelRefused,
    check_kind,
    check_total,
)

ZIP_LIMITS = replace(LIMITS, entries=4 * MAX_FILES, total_bytes=4 * MAX_TOTAL_BYTES, depth=MAX_DEPTH + 1)


def read_model_zip(
    path: Path, *, most: int = MAX_TOTAL_BYTES, sized: Callable[[int], object] = lambda total: None
) -> dict[str, bytes]:
    """As `read_model_files`, for a zip of the folder or of what is in it. Raises ModelRefused in one sentence.

    Refused: names that lead out, links, passwords, bombs, entries that share bytes, and every kind of file that a
    folder may not hold.
    """
    where = quoted(path.name)
    try:
        with open_archive(path, ZIP_LIMITS) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _is_hidden(entry.filename)]
            if len(entries) > MAX_FILES:
                raise ModelRefused(f"{where}: holds more than {MAX_FILES} files", "this is not a model")
            for entry in entries:
                check_kind(entry.filename, entry.file_size)
            sized(check_total(path.name, sum(entry.file_size for entry in entries), most))
            files = {entry.filename: archive.read(entry) for entry in entries}
    except DataUnavailable as error:
        raise ModelRefused(f"{where}: {error.message}", "pack the model's folder again, or give the folder") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelRefused(f"{where}: cannot be read: {quoted(error, 120)}", "pack the model's folder again") from None
    except ValueError as error:  # a path with a null character
        raise ModelRefused(f"{where}: cannot be read: {quoted(error, 120)}") from None
    tops = {PurePosixPath(name).parts[0] for name in files}
    if len(tops) == 1 and "model_index.json" not in files and all("/" in name for name in files):
        top = tops.pop()
        return {name[len(top) + 1 :]: data for name, data in files.items()}
    return files


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
