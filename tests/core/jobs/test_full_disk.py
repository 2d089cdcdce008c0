"""A disk that is really full, at any moment of a run's life: the reason is in words, and the run goes on afterwards."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from core import atomic, reading
from core.__main__ import main
from core.errors import LabError, StorageFull, is_full_disk
from core.home import code_root
from core.jobs import service
from core.jobs.exit_reason import ending_of, write_ending
from core.jobs.job_row import job_for
from core.jobs.queue import Job, JobState, Queue
from core.jobs.queue_view import queue_view, supervisor_state
from core.jobs.supervisor import Supervisor
from core.machine import attempts
from core.runs.lock import try_lock
from core.runs.run import RunState
from tests.core.jobs.conftest import Box, opened
from tests.small_disk import fill, make_room, mounted

MB = 2**20
STANDIN = Path(__file__).with_name("standin_worker.py")
FILLS = """
import os, sys
file = os.open("filler", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(file, b"x" * 65536)
except OSError:
    sys.exit(1)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", 8 * MB) as found:
        yield found


@pytest.fixture
def small_box(disk: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Box]:
    yield from opened(disk, monkeypatch, in_process=True, begin=lambda: request.getfixturevalue("forks"))


def write_until_full(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 100)


def test_a_disk_is_filled_also_while_another_writes_to_it(disk: Path) -> None:
    with ThreadPoolExecutor() as pool:
        pool.submit(write_until_full, disk / "log")
        fill(disk)
    assert os.statvfs(disk).f_bavail == 0


def chained(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (StorageFull("x"), True),
        (sqlite3.OperationalError("database or disk is full"), True),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (chained(RuntimeError("a library's own words"), OSError(errno.ENOSPC, "")), True),
        (chained(LabError("x"), chained(ValueError("y"), OSError(errno.EDQUOT, ""))), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (sqlite3.OperationalError("database is locked"), False),
        (None, False),
    ],
)
def test_a_full_disk_is_known_however_it_is_told(error: Exception | None, is_full: bool) -> None:
    assert is_full_disk(error) == is_full


def test_errors_that_name_each_other_end() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_full_disk(first)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"exit_code": StorageFull.exit_code}, "the disk or the quota is full at step 7; "),
        ({"exit_code": 1, "disk_full": True}, "its process ended at step 7 (exit code 1) while the disk was full; "),
        ({"exit_code": -7, "disk_full": True}, "its process ended at step 7 (SIGBUS) while the disk was full; "),
    ],
)
def test_the_exit_code_or_what_the_shim_saw_tells_it(box: Box, facts: dict[str, object], reason: str) -> None:
    run = box.create()
    run.write_status(replace(run.status(), state=RunState.RUNNING, step=7))
    atomic.write_json(run.folder / attempts.ATTEMPT_FILE, {"attempt": 1, "boot_id": attempts.boot_id()})
    atomic.write_json(run.folder / attempts.EXIT_FILE, {"attempt": 1, **facts})
    ending = ending_of(run, 1)
    assert (ending.state, ending.may_return) == (RunState.FAILED, False)
    assert ending.reason == f"{reason}no checkpoint was saved; free some space and resume"


def test_an_ending_that_is_written_twice_is_one_event(box: Box) -> None:
    run = box.create()
    ending = ending_of(run, 1)
    write_ending(run, ending)
    write_ending(run, ending)
    assert len([event for event in run.events() if event["event"] == ending.state]) == 1


@pytest.mark.parametrize("is_new", [True, False])
def test_a_queue_on_a_full_disk_says_so(disk: Path, is_new: bool) -> None:
    queue = Queue(disk)
    if not is_new:
        queue.put(Job(run_id="a"))
    fill(disk)
    with pytest.raises(StorageFull, match="full"):
        for number in range(100):
            queue.put(Job(run_id=f"b{number}", owner="x" * 1000))
    queue.close()


def test_a_command_has_its_own_exit_code(
    disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    box = Box(disk, in_process=True, begin=lambda: None)
    run = box.create()
    monkeypatch.setenv("LAB_RUNS", str(box.store.root))
    fill(disk)
    assert main(["note", run.id, "--tag", "x"]) == StorageFull.exit_code == 28
    assert "full; free some space" in capsys.readouterr().err
    assert supervisor_state(box.store).problem.startswith(f"the disk of {box.store.root} is full: nothing starts")


def test_the_shim_says_how_it_ended_on_a_disk_that_filled_up_meanwhile(disk: Path) -> None:
    """Before, it waited for room, and the run seemed to train until then."""
    lock = try_lock(disk / "lock")
    assert lock is not None
    words = ["--run", str(disk), "--attempt", "7", "--lock", str(lock.descriptor), "--grace", "60", "--"]
    command = [sys.executable, "-m", "core.jobs.shim", *words, sys.executable, "-c", FILLS]
    environment = {**os.environ, "PYTHONPATH": str(code_root())}
    subprocess.run(command, cwd=disk, env=environment, pass_fds=[lock.descriptor], check=True, timeout=60)
    lock.release()
    end = reading.read_object(disk / attempts.EXIT_FILE)
    assert (end["attempt"], end["exit_code"], end["disk_full"]) == (7, 1, True)
    assert os.statvfs(disk).f_bavail == 0


def test_a_worker_that_cannot_write_its_first_word_has_its_own_exit_code(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STANDIN_LOG", raising=False)
    box = Box(disk, in_process=True, begin=lambda: None)
    run = box.create()
    try_lock(run.folder / "lock")
    fill(disk)
    words = [sys.executable, str(STANDIN), "--runs", str(box.store.root), run.id]
    environment = {**os.environ, attempts.TOKEN_VARIABLE: attempts.token_of(run.id, 1)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == StorageFull.exit_code
    assert "Traceback" not in done.stderr and "the disk or the quota is full" in done.stderr


def test_nothing_starts_while_the_disk_is_full(small_box: Box, disk: Path) -> None:
    run = small_box.create(steps=2)
    assert small_box.queue.put(job_for(run))
    fill(disk)
    lock = try_lock(disk / "another")
    assert lock is not None
    supervisor = Supervisor(small_box.store, lock, worker=["/nowhere/python"])
    supervisor.upgrade_at = float("inf")
    supervisor.tick()
    job = small_box.queue.job(run.id)
    assert job is not None and job.state is JobState.QUEUED and not supervisor.children
    assert queue_view(small_box.store)[0].waits_for == "room on the disk, which is full"
    make_room(disk)
    supervisor.tick()
    assert supervisor.children
    supervisor.children[0].wait()
    supervisor.housekeeping.close()
    supervisor.queue.close()
    lock.release()


@pytest.mark.slow
@pytest.mark.parametrize("leave_bytes", [0, 40_000])
@pytest.mark.parametrize("step", [0, 6])
def test_a_disk_that_fills_up_while_it_trains(small_box: Box, disk: Path, leave_bytes: int, step: int) -> None:
    """Words while it is full, the same ones on disk once there is room, and then it resumes."""
    run = small_box.create(steps=5000)
    small_box.submit(run)
    small_box.wait(lambda: run.status().state is RunState.RUNNING if not step else run.status().step >= step)
    fill(disk, leave_bytes=leave_bytes)
    seen = small_box.wait_for(run, RunState.FAILED)
    assert seen.state is RunState.FAILED and "full" in seen.reason
    make_room(disk)
    (status,) = small_box.wait_until_judged(run)
    assert status.state is RunState.FAILED and "full" in status.reason
    assert len([event for event in run.events() if event["event"] == "failed"]) == 1
    small_box.hurry()
    service.resume_run(small_box.store, run.id, engine=small_box.engine)
    small_box.wait_until_judged(run)
    assert run.status().state is RunState.FINISHED
