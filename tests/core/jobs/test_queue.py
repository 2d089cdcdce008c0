"""The queue's promises under many hands at once: each is one transaction, so nothing happens twice."""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
import subprocess
import sys
import threading
from collections import Counter

import pytest

from core.jobs import service
from core.jobs.queue import Job, JobState, Queue
from core.machine.attempts import living_pids
from core.runs.lock import is_locked
from tests.core.jobs.conftest import ENDLESS, STANDIN

pytestmark = pytest.mark.slow

FORK = multiprocessing.get_context("fork")


def claimer(root, start, results):
    queue = Queue(root)
    start.wait()
    mine = []
    for job in queue.jobs(JobState.QUEUED):
        attempt = queue.claim(job.run_id, [f"cpu/{job.run_id}"])
        if attempt is not None:
            mine.append(job.run_id)
    results.put(mine)


def in_processes(count, target, *arguments):
    """Run the target in `count` processes that begin together; what each put into the queue of results."""
    start, results = FORK.Barrier(count), FORK.Queue()
    processes = [FORK.Process(target=target, args=(*arguments, start, results)) for _ in range(count)]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    return found


def test_four_supervisors_racing_for_a_thousand_claims_claim_none_twice(tmp_path):
    queue = Queue(tmp_path)
    names = [f"run-{number:04d}" for number in range(1000)]
    with queue.transaction() as database:
        database.executemany(
            "insert into jobs(run_id, place, state) values(?, ?, 'queued')",
            [(name, place) for place, name in enumerate(names)],
        )
    queue.close()
    claimed = Counter(name for mine in in_processes(4, claimer, tmp_path) for name in mine)
    assert set(claimed) == set(names)
    assert max(claimed.values()) == 1
    assert len(queue.leases()) == 1000


def test_a_slot_is_never_leased_twice(tmp_path):
    queue = Queue(tmp_path)
    assert queue.put(Job(run_id="a"))
    assert queue.put(Job(run_id="b"))
    first = queue.claim("a", ["cpu/0"])
    assert first is not None
    assert queue.claim("b", ["cpu/0"]) is None
    assert queue.job("b").state is JobState.QUEUED
    assert queue.release("a", first, JobState.ENDED)
    assert queue.claim("b", ["cpu/0"])
    assert not queue.release("a", first, JobState.ENDED)


def double_starter(store, run_id, start, results):
    from core.errors import RunBusy
    from core.jobs.engines.local import LocalEngine

    engine = LocalEngine(store, worker=STANDIN)
    start.wait()
    try:
        engine.submit([store.get(run_id)])
        results.put("through")
    except RunBusy:
        results.put("refused")


def test_of_eight_who_start_the_same_run_at_once_one_gets_through(real_box):
    real_box.supervise()
    for _ in range(2):
        run = real_box.create(steps=1)
        outcomes = Counter(in_processes(8, double_starter, real_box.store, run.id))
        assert outcomes == {"through": 1, "refused": 7}
        real_box.wait_until_judged(run)
        assert [mark["run"] for mark in real_box.marks("start")].count(run.id) == 1


def presser(box, token, start, results):
    start.wait()
    runs = service.start_training(
        "vae",
        box.settings(steps=1),
        store=box.store,
        engine=box.engine,
        token=token,
        check=lambda *arguments, **named: None,
    )
    results.put([run.id for run in runs])


def test_a_button_pressed_eight_times_makes_one_run(real_box):
    made = in_processes(8, presser, real_box, "form-1")
    assert len({tuple(ids) for ids in made}) == 1
    assert len(real_box.store.list()) == 1
    real_box.wait_until_judged(*real_box.store.list())


def test_who_opens_a_new_queue_beside_another_waits_for_its_turn(tmp_path):
    queue = Queue(tmp_path)
    queue.folder.mkdir()
    other = sqlite3.connect(queue.path, isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    release = threading.Timer(0.5, other.rollback)
    release.start()
    assert queue.put(Job(run_id="a")), "SQLite itself does not wait while it changes a new file to WAL"
    release.join()
    other.close()


def test_a_press_that_fails_can_be_repeated(box):
    def refuse(*arguments, **named):
        raise ValueError("not now")

    with pytest.raises(ValueError, match="not now"):
        service.start_training("vae", box.settings(), store=box.store, engine=box.engine, token="t", check=refuse)
    assert box.store.list() == []
    runs = service.start_training(
        "vae",
        box.settings(steps=1),
        store=box.store,
        engine=box.engine,
        token="t",
        check=lambda *arguments, **named: None,
    )
    assert len(runs) == 1
    box.wait_until_judged(*runs)


def test_of_several_supervisors_started_at_once_one_stays(real_box):
    command = [sys.executable, "-m", "core.jobs.supervisor", "--runs", str(real_box.store.root)]
    processes = [subprocess.Popen(command) for _ in range(5)]
    try:
        real_box.wait(lambda: sum(process.poll() is None for process in processes) == 1)
        real_box.wait(lambda: real_box.supervisor_pid() is not None)
        (alive,) = [process for process in processes if process.poll() is None]
        assert real_box.supervisor_pid() == alive.pid
        assert [process.returncode for process in processes if process is not alive] == [0] * 4
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_the_order_is_first_come_first_served_within_a_priority(tmp_path):
    queue = Queue(tmp_path)
    for name, priority in (("a", 0), ("b", 0), ("c", 5), ("d", -1), ("e", 0)):
        queue.put(Job(run_id=name, priority=priority))
    order = lambda: [job.run_id for job in queue.jobs()]  # noqa: E731
    assert order() == ["c", "a", "b", "e", "d"]
    assert queue.move("e", "first")
    assert order() == ["c", "e", "a", "b", "d"]
    assert queue.move("e", "down")
    assert order() == ["c", "a", "e", "b", "d"]
    assert queue.set_priority("d", 9)
    assert order() == ["d", "c", "a", "e", "b"]
    assert queue.take_out("e", state=JobState.PAUSED)
    assert order() == ["d", "c", "a", "e", "b"], "a paused run keeps its place"
    assert queue.put(Job(run_id="e"))
    assert order() == ["d", "c", "a", "e", "b"]
    assert not queue.move("nobody", "first")


def test_a_damaged_queue_is_built_again_from_the_run_folders(real_box):
    runs = [real_box.create(steps=5) for _ in range(3)]
    real_box.supervise()
    real_box.wait(lambda: real_box.supervisor_pid() is not None)
    real_box.kill_supervisor()
    real_box.engine.worker = STANDIN
    for run in runs:
        status = run.status()
        assert status.state == "queued"
        values = json.loads(run.status_path.read_text())
        run.status_path.write_text(json.dumps({**values, "heartbeat_at": "2026-01-01T00:00:00+00:00"}))
    real_box.queue.close()
    real_box.queue.path.write_bytes(b"this is no database" * 1000)
    for suffix in ("-wal", "-shm"):
        real_box.queue.path.with_name(f"queue.db{suffix}").unlink(missing_ok=True)
    real_box.supervise()
    real_box.wait(lambda: all(run.status().state == "finished" for run in runs))
    assert list(real_box.queue.folder.glob("queue.db.damaged-*"))
    assert Counter(mark["run"] for mark in real_box.marks("start")) == Counter({run.id: 1 for run in runs})


def test_a_queue_that_was_deleted_while_a_run_trains_takes_it_in_again(real_box):
    run = real_box.create(steps=ENDLESS)
    real_box.submit(run)
    real_box.wait_for_step(run, 2)
    real_box.kill_supervisor()
    real_box.queue.close()
    for path in real_box.queue.folder.glob("queue.db*"):
        path.unlink()
    real_box.supervise()
    real_box.wait(lambda: (job := real_box.queue.job(run.id)) is not None and job.state is JobState.LIVE)
    real_box.hurry()
    real_box.wait_until_judged(run)
    assert run.status().state == "finished"
    assert len(real_box.marks("start")) == 1


def test_many_threads_may_use_one_queue(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    queue = Queue(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        put = list(pool.map(lambda number: queue.put(Job(run_id=f"r{number % 50}")), range(400)))
    assert sum(put) == 50


def test_a_queue_that_cannot_be_read_is_told_in_a_sentence(tmp_path):
    from core.errors import LabError

    queue = Queue(tmp_path)
    queue.folder.mkdir()
    queue.path.write_bytes(b"no database" * 500)
    assert not queue.is_sound()
    with pytest.raises(LabError, match="the queue cannot be read"):
        queue.jobs()
    assert isinstance(sqlite3.DatabaseError(), Exception)


def test_no_process_carries_a_token_that_was_never_given():
    assert living_pids("20260101-000000-vae-none.1") == []


def test_a_lock_file_that_nobody_holds_is_free(tmp_path):
    assert not is_locked(tmp_path / "nothing")
