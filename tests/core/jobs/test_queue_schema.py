"""The queue of an older lab is migrated once, whole or not at all; one of a newer lab is left alone."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from core.errors import LabError
from core.jobs.queue import Job, JobState, Queue
from core.jobs.queue_schema import FORMAT, NewerQueue
from core.jobs.recovery import set_aside_if_damaged
from core.jobs.serving import FACTS_NAME, LOCK_NAME
from core.machine import attempts
from core.machine.processes import identity_of
from core.runs.lock import is_locked, try_lock
from core.runs.store import RunStore
from tests.endings import kill_supervisor

OLD_TABLES = """
create table jobs(run_id text primary key, place real not null, state text not null,
  priority integer not null default 0, owner text not null default '', device text not null default 'auto',
  num_processes integer not null default 1, depends_on text not null default '[]',
  environment text not null default '{}', code text not null default '', attempt integer not null default 0,
  slots text not null default '[]', boot_id text not null default '', stop_level integer not null default 0,
  stop_by text not null default '', pauses integer not null default 0, fruitless integer not null default 0,
  last_step integer not null default -1, waits_for text not null default '', queued_at text not null default '',
  started_at text not null default '', ended_at text not null default '');
create table leases(slot text primary key, run_id text not null);
create table tokens(token text primary key, run_ids text not null default '', at text not null);
"""
HOLD = """
import json, signal, sys, time
from pathlib import Path
from core.machine.processes import own_identity
from core.runs.lock import try_lock
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
folder = Path(sys.argv[1])
lock = try_lock(folder / "supervisor.lock")
(folder / "supervisor.json").write_text(json.dumps({"pid": 1, "process": own_identity().__dict__}))
print("holds", flush=True)
time.sleep(600)
"""


def old_queue(root: Path, *, without: str = "") -> Path:
    """A queue as it was before formats had numbers, with one waiting run; without: a column it does not have yet."""
    folder = root / ".queue"
    folder.mkdir(parents=True)
    database = sqlite3.connect(folder / "queue.db")
    database.executescript(OLD_TABLES)
    database.execute("insert into jobs(run_id, place, state, owner, priority) values('a', 1, 'queued', 'ana', 3)")
    if without:
        database.execute(f"alter table jobs drop column {without}")
    database.commit()
    database.close()
    return folder


def version_of(root: Path) -> int:
    with sqlite3.connect(root / ".queue" / "queue.db") as database:
        return int(database.execute("pragma user_version").fetchone()[0])


@pytest.mark.parametrize("without", ["", "environment", "code", "fruitless", "pauses"])
def test_an_older_queue_keeps_its_jobs(tmp_path: Path, without: str) -> None:
    old_queue(tmp_path, without=without)
    queue = Queue(tmp_path)
    assert queue.put(Job(run_id="b"))
    assert [(job.run_id, job.owner, job.priority) for job in queue.jobs()] == [("a", "ana", 3), ("b", "", 0)]
    assert version_of(tmp_path) == FORMAT
    assert queue.claim("a", ["cpu/0"])


def test_many_that_open_it_at_once_migrate_it_once(tmp_path: Path) -> None:
    old_queue(tmp_path, without="code")
    start, found = threading.Barrier(8), []

    def look() -> None:
        queue = Queue(tmp_path)
        start.wait()
        found.append([job.run_id for job in queue.jobs()])
        queue.close()

    threads = [threading.Thread(target=look) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found == [["a"]] * 8


def test_a_migration_that_breaks_off_leaves_the_old_queue(tmp_path: Path) -> None:
    folder = old_queue(tmp_path, without="code")
    with sqlite3.connect(folder / "queue.db") as database:  # the second table cannot be made: a view has its name
        database.execute("drop table leases")
        database.execute("create view speeds as select 1")
        database.execute("create table leases(slot text primary key)")
        database.execute("create view jobs_order as select 1")
    with pytest.raises(LabError):
        Queue(tmp_path).jobs()
    with pytest.raises(LabError):
        set_aside_if_damaged(Queue(tmp_path))
    assert (folder / "queue.db").exists(), "it is not damaged"
    with sqlite3.connect(folder / "queue.db") as database:
        assert "code" not in [row[1] for row in database.execute("pragma table_info(jobs)")]
    assert version_of(tmp_path) == 0


@pytest.mark.slow
def test_a_newer_queue_is_refused_in_one_sentence_and_never_set_aside(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.put(Job(run_id="a"))
    queue.close()
    with sqlite3.connect(queue.path) as database:
        database.execute(f"pragma user_version = {FORMAT + 1}")
    assert [job.run_id for job in queue.jobs()] == ["a"] and "newer version of the lab" in queue.problem
    for look in (queue.is_sound, lambda: queue.put(Job(run_id="b"))):
        with pytest.raises(
            NewerQueue, match=rf"made by a newer version of the lab \(format {FORMAT + 1}; this one knows {FORMAT}\)"
        ):
            look()
    done = subprocess.run(
        [sys.executable, "-m", "core.jobs.supervisor", "--runs", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert [path.name for path in queue.folder.glob("queue.db*damaged*")] == []
    assert version_of(tmp_path) == FORMAT + 1


def test_rows_of_format_1_belong_to_the_account_that_owns_the_run(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.put(Job(run_id="a", environment={"LAB_DATA": "/x"}, code="abc"), Job(run_id="gone"))
    queue.close()
    with sqlite3.connect(queue.path) as database:
        database.execute("alter table jobs drop column uid")
        database.execute("pragma user_version = 1")
    (tmp_path / "a").mkdir()
    jobs = Queue(tmp_path).jobs(JobState.QUEUED)
    assert [(job.run_id, job.uid) for job in jobs] == [("a", (tmp_path / "a").stat().st_uid), ("gone", -1)]
    assert (jobs[0].environment, jobs[0].code, version_of(tmp_path)) == ({"LAB_DATA": "/x"}, "abc", FORMAT)


def test_an_unknown_column_is_left_alone(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.put(Job(run_id="a"))
    with queue.transaction() as database:
        database.execute("alter table jobs add column mood text not null default 'good'")
    assert [job.run_id for job in queue.jobs(JobState.QUEUED)] == ["a"]


def test_the_supervisor_of_an_older_lab_is_ended_before_the_migration(tmp_path: Path) -> None:
    folder = old_queue(tmp_path)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "holds\n"
        queue = Queue(tmp_path)
        assert [job.run_id for job in queue.jobs()] == ["a"]
        assert holder.wait(60) == 0
    assert version_of(tmp_path) == FORMAT
    while not json.loads((folder / FACTS_NAME).read_text()).get("queue_format"):  # another one starts for who waits
        time.sleep(0.05)
    assert kill_supervisor(RunStore(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to write as another account")
def test_nobody_else_says_which_process_of_ours_is_an_older_supervisor(tmp_path: Path) -> None:
    """In a runs folder that accounts share, a member could name any process of ours, and have us end it."""
    folder = old_queue(tmp_path)
    tmp_path.chmod(0o2770)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout and holder.stdout.readline() == "holds\n"
            os.chown(folder / FACTS_NAME, 61_001, -1)
            with pytest.raises(LabError, match=f"end it: kill {holder.pid}"):
                Queue(tmp_path).jobs()
            assert holder.poll() is None
        finally:
            holder.kill()


def test_a_supervisor_that_knows_the_format_migrates_itself(tmp_path: Path) -> None:
    folder = old_queue(tmp_path)
    lock = try_lock(folder / LOCK_NAME)
    assert lock is not None
    identity = identity_of(os.getppid())
    facts = {"process": identity.__dict__ if identity else {}, "queue_format": FORMAT}
    (folder / FACTS_NAME).write_text(json.dumps(facts))
    assert [job.run_id for job in Queue(tmp_path).jobs()] == ["a"]
    assert is_locked(folder / LOCK_NAME)
    lock.release()


def test_a_supervisor_that_was_upgraded_in_place_does_not_end_itself(tmp_path: Path) -> None:
    folder = old_queue(tmp_path)
    lock = try_lock(folder / LOCK_NAME)
    assert lock is not None
    before = signal.getsignal(signal.SIGTERM)
    identity = identity_of(os.getpid())
    assert identity is not None
    (folder / FACTS_NAME).write_text(json.dumps({"process": identity.__dict__}))
    assert [job.run_id for job in Queue(tmp_path).jobs()] == ["a"]
    assert signal.getsignal(signal.SIGTERM) is before
    lock.release()


def old_job(root: Path, **columns: object) -> None:
    """Change the waiting run of `old_queue`."""
    with sqlite3.connect(root / ".queue" / "queue.db") as database:
        for name, value in columns.items():
            database.execute(f"update jobs set {name} = ?", (value,))


def test_what_an_earlier_attempt_of_a_waiting_run_was_asked_is_forgotten(tmp_path: Path) -> None:
    old_queue(tmp_path)
    (tmp_path / "a").mkdir()
    attempts.ask_to_stop(tmp_path / "a", 0, level=1, by="bo")
    assert [job.run_id for job in Queue(tmp_path).jobs()] == ["a"]
    assert attempts.stop_of(tmp_path / "a", 0) is None


def test_a_pause_that_only_the_table_knew_is_in_the_run_after_the_migration(tmp_path: Path) -> None:
    old_queue(tmp_path)
    old_job(tmp_path, state="live", attempt=2, stop_level=1, stop_by="bo", pauses=1)
    (tmp_path / "a").mkdir()
    stop = {"attempt": 2, "level": 1, "by": "bo", "at": 12.5}
    (tmp_path / "a" / attempts.STOP_FILE).write_text(json.dumps(stop))
    (job,) = Queue(tmp_path).jobs()
    request = attempts.StopRequest(level=1, by="bo", at=12.5, pauses=True)
    assert attempts.stop_of(tmp_path / "a", 2) == request
    assert not job.pauses


def test_a_pause_of_a_run_that_cannot_be_written_stays_in_the_table(tmp_path: Path) -> None:
    old_queue(tmp_path)
    old_job(tmp_path, state="live", attempt=2, stop_level=1, stop_by="bo", pauses=1)
    (job,) = Queue(tmp_path).jobs()
    assert job.pauses


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.PAUSED, JobState.ENDED])
def test_a_pause_in_the_table_is_over_with_its_attempt(tmp_path: Path, state: JobState) -> None:
    queue = Queue(tmp_path)
    queue.put(Job(run_id="a"))
    attempt = queue.claim("a", ["cpu/0"])
    assert attempt is not None
    with queue.transaction() as database:
        database.execute("update jobs set stop_level = 1, stop_by = 'bo', pauses = 1")
    assert queue.release("a", attempt, state)
    job = queue.job("a")
    assert job is not None and not job.pauses
