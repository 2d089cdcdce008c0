"""Notes, tags and favourites as the screens read them: again only when a file changed, for all sessions together."""

from __future__ import annotations

import threading

import streamlit as st

from core.runs.notes import Notes, notes_path, read_notes
from core.runs.run import Run

_NOTHING = Notes()
_MOST_KEPT = 5000


class _Kept:
    """What was read last of each file, with its time and size."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[tuple[int, int], Notes]] = {}
        self.lock = threading.Lock()

    def of(self, run: Run) -> Notes:
        path = notes_path(run)
        try:
            facts = path.stat()
        except OSError:
            return _NOTHING
        key, seen = str(path), (facts.st_mtime_ns, facts.st_size)
        with self.lock:
            kept = self.found.get(key)
        if kept is not None and kept[0] == seen:
            return kept[1]
        notes = read_notes(run)
        with self.lock:
            if len(self.found) >= _MOST_KEPT:
                self.found.clear()
            self.found[key] = (seen, notes)
        return notes


@st.cache_resource(show_spinner=False)
def _kept() -> _Kept:
    return _Kept()


def notes_of(run: Run) -> Notes:
    """The notes of a run; empty when there are none."""
    return _kept().of(run)
