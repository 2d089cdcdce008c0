"""Who serves a queue: one start at a time, whoever else holds a lock; one that does not move is told."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from core import atomic
from core.__main__ import main
from core.jobs import serving, start_supervisor
from core.jobs.job_row import job_for
from core.jobs.queue import Queue
from core.jobs.queue_schema import FORMAT
from core.jobs.queue_view import supervisor_state
from core.jobs.serving import BEAT_NAME, LOCK_NAME, is_served, say_who_serves, stillness, take_lock
from core.machine.attempts import boot_id
from core.machine.processes import own_identity
from core.runs.lock import FileLock, try_lock
from core.runs.store import RunStore
from tests.core.jobs.conftest import Box
from tests.endings import nobody_serves

SERVE = """
import sys, time
from pathlib import Path
from core.jobs.serving import beat, say_who_serves, take_lock
folder = Path(sys.argv[1])
lock = take_lock(folder)
if lock is None:
    sys.exit(3)
say_who_serves(folder, 99)
beat(folder)
print("serves", flush=True)
sys.stdin.read()
"""
SLOW_START = """
import os, sys, time
from pathlib import Path
from core import atomic
atomic.append_line(Path(sys.argv[1]), str(os.getpid()))
while not Path(sys.argv[2]).exists():
    time.sleep(0.05)
"""


@dataclass
class Server:
    """A process that serves a queue and does nothing; it ends with its standard input."""

    process: subprocess.Popen[str]

    def kill(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    atomic.private_folder(tmp_path / "runs" / ".queue")
    return tmp_path / "runs" / ".queue"


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[[], Server]]:
    with ExitStack() as held:

        def begin() -> Server:
            words = [sys.executable, "-c", SERVE, str(folder)]
            process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            held.callback(process.wait)
            held.callback(process.kill)
            assert process.stdout and process.stdout.readline() == "serves\n"
            return Server(process)

        yield begin


def reading_lock(path: Path, kind: int = fcntl.LOCK_EX) -> int:
    """What any account can do that may read the file."""
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, kind)
    return descriptor


def test_twenty_five_sessions_start_one_supervisor(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """17 of 25 before, each a process that loads for a second and ends."""
    log, end = tmp_path / "started", tmp_path / "end"
    command = [sys.executable, "-c", SLOW_START, str(log), str(end)]
    monkeypatch.setattr(start_supervisor, "command_line", lambda *_, **__: command)
    store, barrier = RunStore(folder.parent), threading.Barrier(25)

    def session() -> None:
        barrier.wait()
        for _ in range(4):
            start_supervisor.start_supervisor(store)

    threads = [threading.Thread(target=session) for _ in range(25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while not log.exists():
        time.sleep(0.02)
    start_supervisor.start_supervisor(store)
    end.touch()
    with nobody_serves(store):  # it has come so far, and the start is over
        lock = None
        while lock is None:
            lock = try_lock(folder / start_supervisor.START_NAME, patience_s=60.0)
        lock.release()
        start_supervisor.start_supervisor(store)
    assert len(log.read_text().splitlines()) == 1


def test_a_start_that_hangs_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = reading_lock(folder / start_supervisor.START_NAME)
    assert start_supervisor.take_start(folder) is None
    monkeypatch.setattr(start_supervisor, "STARTING_S", 0.0)
    found = start_supervisor.take_start(folder)
    assert found is not None
    found.release()
    os.close(descriptor)


@pytest.mark.parametrize("says", ["its moment", "nothing"])
def test_a_start_of_this_second_is_left_alone_whatever_was_seen_an_hour_ago(
    folder: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    """Before, whoever had seen an earlier start took the lock away from this one."""
    path, now = folder / start_supervisor.START_NAME, time.monotonic()
    earlier = reading_lock(path)
    assert start_supervisor.take_start(folder) is None
    os.close(earlier)
    monkeypatch.setattr(time, "monotonic", lambda: now + 3600.0)
    if says == "its moment":
        path.write_text(f"{boot_id()} {now + 3590.0}\n")
        os.utime(path, (0, 0))  # whatever a clock that was set makes of it
    descriptor = reading_lock(path) if says == "nothing" else os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    held = path.stat()
    assert start_supervisor.take_start(folder) is None
    assert os.path.samestat(held, path.stat())
    os.close(descriptor)


@pytest.mark.parametrize("text", ["{boot} {began}", "{boot} nan", "{boot} 1e300", "another-boot 7", "", "x y z", "\0"])
def test_the_first_look_of_a_command_replaces_a_start_that_hangs(folder: Path, text: str) -> None:
    """Before, a process had to see it for a minute, which no command lives."""
    path = folder / start_supervisor.START_NAME
    descriptor = reading_lock(path)
    path.write_text(text.format(boot=boot_id(), began=time.monotonic() - start_supervisor.STARTING_S - 1.0))
    os.utime(path, (0, 0))
    found = start_supervisor.take_start(folder)
    assert found is not None and start_supervisor.take_start(folder) is None
    found.release()
    os.close(descriptor)


@pytest.mark.parametrize("kind", [fcntl.LOCK_SH, fcntl.LOCK_EX])
def test_a_lock_that_a_reader_holds_keeps_no_supervisor_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    monkeypatch.setattr(serving, "FOREIGN_PATIENCE_S", 0.05)
    descriptor = reading_lock(folder / LOCK_NAME, kind)
    assert not is_served(folder)
    lock = take_lock(folder)
    assert lock is not None
    say_who_serves(folder, FORMAT)
    assert is_served(folder) and take_lock(folder) is None
    lock.release()
    os.close(descriptor)


@pytest.mark.slow
def test_of_two_that_serve_one_stays(folder: Path, serve: Callable[[], Server]) -> None:
    first = serve()
    assert is_served(folder)
    assert subprocess.run([sys.executable, "-c", SERVE, str(folder)], stdin=subprocess.DEVNULL).returncode == 3
    first.kill(signal.SIGKILL)
    first.process.wait()
    assert not is_served(folder)
    serve()
    assert is_served(folder)


def test_a_supervisor_that_is_stopped_by_a_signal_is_told(
    box: Box,
    folder: Path,
    serve: Callable[[], Server],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAB_RUNS", str(box.store.root))
    run = box.create()
    box.queue.put(job_for(run))
    server = serve()
    assert supervisor_state(box.store).problem == ""
    server.kill(signal.SIGSTOP)
    while not (problem := supervisor_state(box.store).problem):
        time.sleep(0.02)
    pid = server.process.pid
    assert problem == (
        f"the supervisor (pid {pid}) is stopped by a signal: nothing starts or ends; kill -CONT {pid} lets it continue"
    )
    assert main(["queue", "--json"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)[0]["supervisor_problem"] == problem
    assert output.err == f"supervisor: {problem}\n"
    server.kill(signal.SIGCONT)
    while stillness(folder):
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("{boot} {pid} {old}", True),
        ("{boot} {pid} {new}", False),
        ("{boot} 1 {old}", False),
        ("another {pid} {old}", False),
        ("{boot} {pid}", False),
        ("{boot} {pid} nan", False),
        ("{boot} x y", False),
        ("", False),
        ("x" * 100_000, False),
    ],
)
def test_a_supervisor_that_does_not_move_is_told(folder: Path, text: str, tells: bool) -> None:
    say_who_serves(folder, FORMAT)
    now, identity = time.monotonic(), own_identity()
    facts = {"boot": identity.boot_id, "pid": identity.pid, "old": now - 3 * serving.SILENT_AFTER_S, "new": now}
    (folder / BEAT_NAME).write_text(text.format(**facts))
    words = f"the supervisor (pid {identity.pid}) has not moved for 3 min: nothing starts or ends; kill -9 "
    assert stillness(folder).startswith(words) if tells else stillness(folder) == ""


def test_one_that_lives_out_of_sight_serves_as_long_as_it_moves(folder: Path) -> None:
    """A supervisor in another container has a pid that nobody sees here."""
    lock = take_lock(folder)
    assert lock is not None
    say_who_serves(folder, FORMAT)
    serving.beat(folder)
    facts = json.loads((folder / serving.FACTS_NAME).read_text())
    unseen = {**facts, "process": replace(own_identity(), start_ticks=1).__dict__}
    atomic.write_json(folder / serving.FACTS_NAME, unseen)
    assert is_served(folder)
    (folder / BEAT_NAME).unlink()
    assert not is_served(folder)
    lock.release()


def test_a_sign_of_life_needs_no_room(folder: Path) -> None:
    serving.beat(folder)
    before = (folder / BEAT_NAME).stat()
    serving.beat(folder)
    after = (folder / BEAT_NAME).stat()
    assert (before.st_ino, before.st_size, before.st_blocks) == (after.st_ino, after.st_size, after.st_blocks)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("above", "folder_mode", "file_mode"),
    [
        (0o755, 0o700, 0o600),
        (0o775, 0o770, 0o660),
        (0o2775, 0o2770, 0o660),
        (0o777, 0o777, 0o666),
        (0o1777, 0o700, 0o600),
    ],
)
def test_what_only_the_lab_writes_is_as_open_as_the_folder_above(
    tmp_path: Path, above: int, folder_mode: int, file_mode: int
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    runs.chmod(above)
    queue = Queue(runs)
    assert queue.jobs() == [] and not queue.exists()
    assert queue.set_priority("nobody", 1) is False
    lock = try_lock(queue.folder / LOCK_NAME)
    assert isinstance(lock, FileLock)
    serving.beat(queue.folder)
    assert mode(queue.folder) == folder_mode
    found = {path.name: mode(path) for path in queue.folder.iterdir()}
    assert set(found) >= {"queue.db", "queue.db-wal", "queue.db-shm", LOCK_NAME, BEAT_NAME}
    assert set(found.values()) == {file_mode}
    lock.release()
    queue.close()


def test_what_an_older_lab_left_open_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch(0o644)
    lock = try_lock(path)
    assert lock is not None and mode(path) == 0o600
    lock.release()
    folder = tmp_path / ".queue"
    folder.mkdir(0o755)
    atomic.private_folder(folder)
    assert mode(folder) == 0o700
