"""How a supervisor comes to life: whoever needs one starts it, and of many started at once one stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from core.config.schema import project_root
from core.config.site import FOLDERS
from core.errors import LabError
from core.runs.lock import is_locked
from core.runs.store import RunStore

FOLDER = ".queue"  # in the runs folder
LOCK_NAME, FACTS_NAME, LOG_NAME, ACTIVITY_NAME = "supervisor.lock", "supervisor.json", "supervisor.log", "knock"


def start_supervisor(store: RunStore, worker: Sequence[str] | None = None) -> None:
    """Start one unless one lives. Cheap enough for every click; of many at once one stays.

    Raises LabError when it cannot be started.
    """
    folder = store.root / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _touch_activity(folder)
        _reap()
        if is_locked(folder / LOCK_NAME):
            return
        with (folder / LOG_NAME).open("ab") as log:
            child = subprocess.Popen(
                command_line(store, worker),
                cwd=project_root(),
                env=supervisor_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _started.append(child)
    except OSError as error:
        raise LabError(f"{folder}: the supervisor could not be started: {error.strerror}", "check the disk") from None


def supervisor_environment() -> dict[str, str]:
    """Without the folders of whoever starts it: it serves everyone, and every job names its own."""
    environment = {name: value for name, value in os.environ.items() if name not in FOLDERS}
    path = os.pathsep.join(filter(None, [str(project_root()), os.environ.get("PYTHONPATH", "")]))
    return {**environment, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


_started: list[subprocess.Popen[bytes]] = []


def _reap() -> None:
    """Collect supervisors that ended, so that a long-lived server leaves no zombies."""
    _started[:] = [child for child in _started if child.poll() is None]


def _touch_activity(folder: Path) -> None:
    """Somebody looks: at most one touch a minute."""
    path = folder / ACTIVITY_NAME
    if not path.exists() or time.time() - path.stat().st_mtime > 60:
        path.touch()


def command_line(store: RunStore, worker: Sequence[str] | None, lock: int | None = None) -> list[str]:
    """A supervisor's. worker: another training command line. lock: descriptor of its lock, where that is held."""
    command = [sys.executable, "-m", "core.jobs.supervisor", "--runs", str(store.root.resolve())]
    command += ["--worker", json.dumps(list(worker))] if worker else []
    return command + (["--lock", str(lock)] if lock is not None else [])
