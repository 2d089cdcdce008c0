"""Notes, tags and favourites as the screens read them: again only when a file changed, for all sessions together."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from core.runs.notes import Notes, notes_path, read_notes
from core.runs.run import Run


def notes_of(run: Run) -> Notes:
    """The notes of a run; empty when there are none."""
    try:
        facts = notes_path(run).stat()
    except OSError:
        return Notes()
    return _read(run.folder, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=5000)
def _read(folder: Path, mtime_ns: int, size: int) -> Notes:
    return read_notes(Run(folder))
