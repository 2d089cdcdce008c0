"""Notes, tags and favourites as the screens read them: again only when a file changed, for all sessions together."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from core.reading import Stamp, stamp_of
from core.runs.notes import Notes, notes_path, read_notes
from core.runs.run import Run


def notes_of(run: Run) -> Notes:
    """The notes of a run; empty when there are none."""
    stamp = stamp_of(notes_path(run))
    return _read(run.folder, stamp) if any(stamp) else Notes()


@lru_cache(maxsize=5000)
def _read(folder: Path, stamp: Stamp) -> Notes:
    return read_notes(Run(folder))
