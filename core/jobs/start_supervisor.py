"""How a supervisor comes to life: whoever needs one starts it, one start at a time on a machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from core import atomic, reading
from core.config.site import FOLDERS
from core.errors import LabError
from core.home import code_root, python_path
from core.jobs.accounts import open_service_folder, service_folder
from core.jobs.serving import FOLDER, is_served
from core.machine.attempts import TOKEN_VARIABLE, boot_id
from core.runs.lock import FileLock, try_lock
from core.runs.store import RunStore, storage_error

START_NAME, LOG_NAME, ACTIVITY_NAME, SOON_NAME = "starting.lock", "supervisor.log", "knock", "soon"
ANNOUNCED_S = 60.0
STARTING_S = 60.0  # a start that takes longer hangs, or somebody else holds its lock
TELLING_S = 0.5  # between taking the lock and writing down when
_BEGAN_BYTES = 128


def start_supervisor(store: RunStore, worker: Sequence[str] | None = None) -> None:
    """Start one unless one lives, is being started, or the disk is full. Cheap enough for every click of everybody.

    A run that queues another one starts none: it would hand down its token and its devices. Raises LabError when it
    cannot be started.
    """
    if os.environ.get(TOKEN_VARIABLE):
        return
    folder = store.root / FOLDER
    try:
        folder = open_service_folder(folder)
        _touch_activity(folder)
        _reap()
        if is_served(folder) or atomic.is_full(folder):  # it could not even say that it serves
            return
        starting = take_start(folder)
        if starting is None:
            return
        try:
            if not is_served(folder):
                _started.append(_spawn(store, worker, starting))
        finally:
            starting.release()  # the new process holds it until it serves
    except OSError as error:
        raise storage_error(error, folder) from None


@contextlib.contextmanager
def announced(store: RunStore) -> Iterator[None]:
    """A run is being prepared in here: a supervisor starts and loads PyTorch meanwhile. What is wrong, others say."""
    path = service_folder(store.root / FOLDER) / SOON_NAME
    with contextlib.suppress(LabError, OSError):
        open_service_folder(store.root / FOLDER)
        path.touch()
        start_supervisor(store)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def is_run_announced(folder: Path) -> bool:
    """Whether somebody prepares a run for the supervisor of this folder, who has not died over it."""
    try:
        return abs(time.time() - (folder / SOON_NAME).stat().st_mtime) < ANNOUNCED_S
    except OSError:
        return False


def take_start(folder: Path, *, patience_s: float = 0.0) -> FileLock | None:
    """The right to start the supervisor of a queue's folder, or None while somebody starts one.

    One that is not given back within STARTING_S is replaced; when it began stands in the lock's file. Raises OSError.
    """
    path = folder / START_NAME
    found = try_lock(path, patience_s=patience_s)
    if found is None and (overdue := _overdue(path)):
        found = try_lock(path, patience_s=TELLING_S)
        if found is None and _overdue(path) == overdue:
            path.unlink(missing_ok=True)
            found = try_lock(path)
    if found is not None:
        text = f"{boot_id()} {time.monotonic():.3f}".ljust(_BEGAN_BYTES - 1) + "\n"
        with contextlib.suppress(OSError):  # another account's file
            os.pwrite(found.descriptor, text.encode(), 0)
    return found


def _overdue(path: Path) -> tuple[int, str] | None:
    """Which start holds the lock, when it began more than STARTING_S ago; None when it did not. Whoever wrote nothing
    in this boot of the machine is judged by the file's time."""
    try:
        facts, text = path.stat(), reading.read_text(path, limit=_BEGAN_BYTES)
    except (OSError, ValueError):
        return None
    try:
        boot, moment = text.split()
        began_s = time.monotonic() - float(moment) if boot == boot_id() else None
    except ValueError:
        began_s = None
    if began_s is None:
        began_s = abs(time.time() - facts.st_mtime)
    return None if 0.0 <= began_s <= STARTING_S else (facts.st_ino, text)


def _spawn(store: RunStore, worker: Sequence[str] | None, starting: FileLock) -> subprocess.Popen[bytes]:
    with (service_folder(store.root / FOLDER) / LOG_NAME).open("ab") as log:
        return subprocess.Popen(
            command_line(store, worker, starting=starting.descriptor),
            cwd=code_root(),
            env=supervisor_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[starting.descriptor],
        )


def supervisor_environment() -> dict[str, str]:
    """Without the folders of whoever starts it: it serves everyone, and every job names its own."""
    environment = {name: value for name, value in os.environ.items() if name not in FOLDERS}
    return {**environment, "PYTHONPATH": python_path(), "PYTHONUNBUFFERED": "1"}


_started: list[subprocess.Popen[bytes]] = []


def _reap() -> None:
    """Collect supervisors that ended, so that a long-lived server leaves no zombies."""
    _started[:] = [child for child in _started if child.poll() is None]


def _touch_activity(folder: Path) -> None:
    """Somebody looks: at most one touch a minute, whatever the clock did meanwhile. A full disk needs none."""
    path = folder / ACTIVITY_NAME
    with contextlib.suppress(OSError):
        if not path.exists() or abs(time.time() - path.stat().st_mtime) > 60:
            path.touch()


def command_line(
    store: RunStore, worker: Sequence[str] | None, *, lock: int | None = None, starting: int | None = None
) -> list[str]:
    """A supervisor's. worker: another training command line. lock, starting: descriptors of the locks it inherits, its
    own and that of its start."""
    command = [sys.executable, "-m", "core.jobs.supervisor", "--runs", str(store.root.resolve())]
    command += ["--worker", json.dumps(list(worker))] if worker else []
    command += ["--lock", str(lock)] if lock is not None else []
    return command + (["--starting", str(starting)] if starting is not None else [])
