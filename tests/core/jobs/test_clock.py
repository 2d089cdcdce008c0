"""A clock that is set, forward or back, kills nothing, loses nothing and holds nothing up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core import atomic, reading
from core.home import code_root
from core.jobs.queue import Queue
from core.jobs.recovery import FRESH_S, SEEN_S, take_in_unqueued
from core.machine import attempts
from core.runs.lock import try_lock
from core.runs.run import Run, Status
from tests.core.jobs.conftest import PATIENCE_S, Box

DAY_S = 86_400.0
SHIM = """
import os, sys, time
real, jump = time.time, sys.argv[1]
time.time = lambda: real() + (float(open(jump).read()) if os.path.exists(jump) else 0.0)
from core.jobs import shim
sys.exit(shim.main(sys.argv[2:]))
"""
TRAINING = """
import os, signal, sys, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
open("began", "w").close()
while not asked:
    time.sleep(0.01)
open("asked", "w").close()
while not os.path.exists("jump"):
    time.sleep(0.01)
time.sleep(1.0)  # it saves
open("saved", "w").close()
"""


@pytest.mark.parametrize("jump_s", [DAY_S, -DAY_S])
def test_a_clock_that_is_set_does_not_end_the_grace_of_a_stop(tmp_path: Path, jump_s: float) -> None:
    """Put forward, it was killed at once and had not saved."""
    lock = try_lock(tmp_path / "lock")
    assert lock is not None
    words = ["--run", str(tmp_path), "--attempt", "7", "--lock", str(lock.descriptor), "--grace", "60", "--"]
    command = [sys.executable, "-c", SHIM, str(tmp_path / "jump"), *words, sys.executable, "-c", TRAINING]
    shim = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(code_root())}, pass_fds=[lock.descriptor]
    )
    until((tmp_path / "began").exists)
    attempts.ask_to_stop(tmp_path, 7, level=1, by="bo")
    until((tmp_path / "asked").exists)
    atomic.write_text(tmp_path / "jump", str(jump_s))
    shim.wait()
    lock.release()
    end = reading.read_object(tmp_path / attempts.EXIT_FILE)
    assert (end["exit_code"], end["was_killed"], (tmp_path / "saved").exists()) == (0, False, True)


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("age_s", "seen_for_s", "is_taken_in"),
    [
        (0, -PATIENCE_S, False),
        (0, FRESH_S + 1, True),
        (-DAY_S, -PATIENCE_S, False),
        (-DAY_S, SEEN_S + 1, True),  # written before the clock was put back
        (DAY_S, -PATIENCE_S, False),  # written before it was put forward, by somebody who is about to queue it
        (DAY_S, SEEN_S + 1, True),
    ],
)
def test_a_lost_run_is_found_and_a_new_one_left_to_its_maker(
    box: Box, age_s: float, seen_for_s: float, is_taken_in: bool
) -> None:
    run = box.create()
    written = datetime.now(UTC) - timedelta(seconds=age_s)
    values = reading.read_object(run.status_path)
    atomic.write_json(run.status_path, {**values, "heartbeat_at": written.isoformat()})
    waiting_since = {run.id: time.monotonic() - seen_for_s}
    take_in_unqueued(box.store, box.queue, waiting_since)
    assert (box.queue.job(run.id) is not None) == is_taken_in
    assert (run.id in waiting_since) != is_taken_in


@pytest.mark.parametrize(("moved_s", "is_due"), [(0, False), (-DAY_S, True), (DAY_S, True)])
def test_a_message_is_not_held_back_by_a_clock_that_was_put_back(tmp_path: Path, moved_s: float, is_due: bool) -> None:
    queue, now = Queue(tmp_path), time.time()
    queue.add_notice({"text": "x"})
    ((notice, _, _),) = queue.due_notices(now)
    queue.notice_done(notice, again_at=now + 30)
    assert bool(queue.due_notices(now + moved_s)) == is_due
    queue.close()


def test_a_naive_or_broken_heartbeat_counts_as_old(box: Box) -> None:
    for text in ("2026-01-01T00:00:00", "yesterday", ""):
        run = Run(box.create().folder)
        run.write_status(Status())
        atomic.write_json(run.status_path, {**reading.read_object(run.status_path), "heartbeat_at": text})
        take_in_unqueued(box.store, box.queue, {run.id: time.monotonic() - SEEN_S - 1})
        assert box.queue.job(run.id) is not None
