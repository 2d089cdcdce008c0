"""What all sessions share about the runs folder: each file is read again only when it has changed.

A listing is at most LISTED_FOR_S old, and never older than the last run that was created, deleted or renamed on disk,
or than the last action from a screen of this server; one run asked for by its id is always looked at again. Reads
only: what a dead process left behind is the supervisor's.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from core.errors import RunNotFound
from core.jobs.engines.choose import observed_status
from core.reading import Stamp, stamp_of
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore, run_info

LISTED_FOR_S = 1.0
Pair = tuple[Run, Status]


class RunIndex:
    """Runs and their believed status under one folder. Any thread may ask; one at a time reads.

    Memory: run.json and status.json of the runs that exist, a few kilobytes each.
    """

    def __init__(self, root: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._lock = threading.Lock()
        self._runs: dict[str, tuple[tuple[Stamp, Stamp], Run]] = {}
        self._statuses: dict[str, tuple[Stamp, Status]] = {}
        self._listed: Sequence[Pair] = ()
        self._broken: Sequence[tuple[str, str]] = ()
        self._listed_at = float("-inf")
        self._root_stamp: Stamp = (0, 0, 0)

    def pairs(self) -> Sequence[Pair]:
        """All readable runs with what is believed of them, newest first."""
        with self._lock:
            self._refresh()
            return self._listed

    def broken(self) -> Sequence[tuple[str, str]]:
        """(folder name, what is wrong) of folders that are no readable runs."""
        with self._lock:
            self._refresh()
            return self._broken

    def forget(self) -> None:
        """Look again at the next question: somebody here has changed a run."""
        with self._lock:
            self._listed_at = float("-inf")

    def pair(self, run_id: str) -> Pair:
        """One run as it is now. Raises RunNotFound."""
        with self._lock:
            try:
                run = self._run(self._root / run_id) if run_id in self._runs else None
            except RunNotFound:  # a moment ago it was there: let the store say what has become of it
                run = None
            if run is None:
                run = self._run(RunStore(self._root).get(run_id).folder)
            return run, self._status(run)

    def _refresh(self) -> None:
        stamp, now = stamp_of(self._root), self._clock()
        if stamp == self._root_stamp and 0 <= now - self._listed_at < LISTED_FOR_S:
            return
        folders = _folders(self._root)
        runs, broken = [], []
        for folder in folders:
            try:
                runs.append(self._run(folder))
            except RunNotFound as error:
                broken.append((folder.name, error.message.partition(": ")[2]))
        names = {folder.name for folder in folders}
        for gone in self._runs.keys() - names:
            del self._runs[gone]
        for gone in self._statuses.keys() - names:
            del self._statuses[gone]
        runs.sort(key=lambda run: (run.info.created_at, run.id), reverse=True)
        self._listed = tuple((run, self._status(run)) for run in runs)
        self._broken = tuple(broken)
        self._listed_at, self._root_stamp = now, stamp

    def _run(self, folder: Path) -> Run:
        """The run with what was read of it before, unless run.json or config.yaml has changed. Raises RunNotFound."""
        stamps = (stamp_of(folder / "run.json"), stamp_of(folder / "config.yaml"))
        kept = self._runs.get(folder.name)
        if kept is not None and kept[0] == stamps and any(stamps[0]):
            return kept[1]
        self._runs.pop(folder.name, None)
        run = Run(folder)
        run_info(run)
        self._runs[folder.name] = (stamps, run)
        return run

    def _status(self, run: Run) -> Status:
        """What is believed: of an ended or waiting run its unchanged status.json, of a live one its process too."""
        stamp = stamp_of(run.status_path)
        kept = self._statuses.get(run.id)
        if kept is not None and kept[0] == stamp and any(stamp):
            return kept[1]
        claimed = run.status()
        if claimed.state.is_active and claimed.state is not RunState.QUEUED:
            return observed_status(run)
        self._statuses[run.id] = (stamp, claimed)
        return claimed


def _folders(root: Path) -> list[Path]:
    try:
        with os.scandir(root) as entries:
            return [root / entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []
