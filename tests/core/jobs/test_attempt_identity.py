"""An attempt's number never comes again: whatever becomes of queue and folders, nothing earlier is believed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from core import atomic
from core.jobs import service
from core.jobs.engines.local import LocalEngine
from core.jobs.job_row import job_for
from core.jobs.queue import Job, JobState, Queue
from core.jobs.recovery import take_in_unqueued
from core.jobs.supervisor import Supervisor
from core.machine import attempts
from core.machine.attempts import boot_id
from core.machine.processes import own_identity
from core.runs.lock import try_lock
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore, lock_path
from tests.core.jobs.conftest import Box
from tests.endings import nobody_serves

Tick = Callable[[RunStore], None]
ENDED = (RunState.STOPPED, RunState.FAILED, RunState.INTERRUPTED)
ACTIVE = (RunState.QUEUED, RunState.STARTING, RunState.RUNNING, RunState.STOPPING, RunState.RESUMING)


@pytest.fixture
def tick() -> Iterator[Tick]:
    """One look of a supervisor at everything in a runs folder; its shims are waited for."""
    with ExitStack() as held:
        served = set()

        def look(store: RunStore) -> None:
            if store.root not in served:
                held.enter_context(nobody_serves(store))
                served.add(store.root)
            lock = try_lock(store.root / "another.lock")
            assert lock is not None
            supervisor = Supervisor(store, lock, worker=["/nowhere/python"])
            supervisor.upgrade_at = float("inf")
            supervisor.tick()
            [child.wait() for child in supervisor.children]
            supervisor.housekeeping.close()
            supervisor.queue.close()
            lock.release()

        yield look


def put_down(run: Run, state: RunState, *, attempt: int = 1, stops: bool = True) -> None:
    """What a lab of version 0.2.0 leaves of a first attempt: it counted 1, 2, 3."""
    process = replace(own_identity(), start_ticks=1)
    run.write_status(Status(state=state, step=3, steps_total=10, reason="", process=process))
    facts = {"attempt": attempt, "slots": ["cpu/0"], "boot_id": boot_id(), "environment": {}}
    atomic.write_json(run.folder / attempts.ATTEMPT_FILE, facts)
    atomic.write_json(run.folder / attempts.EXIT_FILE, {"attempt": attempt, "exit_code": -9, "was_killed": True})
    if stops:
        atomic.write_json(run.folder / attempts.STOP_FILE, {"attempt": attempt, "level": 2, "by": "bo", "at": 12.5})


def test_no_two_queues_give_the_same_number(tmp_path: Path) -> None:
    found = set()
    for name in ("a", "b"):
        queue = Queue(tmp_path / name)
        queue.put(Job(run_id="r"))
        last = 0
        for _ in range(3):
            attempt = queue.claim("r", ["cpu/0"])
            assert attempt is not None and last < attempt < 2**53
            last = attempt
            found.add(attempt)
            queue.release("r", attempt, JobState.QUEUED)
    assert len(found) == 6


@pytest.mark.parametrize(("last", "count"), [(0, 1), (1, 2), (3, 4), (3_999_999_999, 4), (4_000_000_000, 5)])
def test_a_number_still_counts(last: int, count: int) -> None:
    assert attempts.number_after(last) // attempts.COUNT_UNIT == count


@pytest.mark.parametrize("value", ["1", -3, 0, 1.5, None, 10**40, [1]])
def test_a_number_that_cannot_be_is_none(tmp_path: Path, value: object) -> None:
    atomic.write_json(tmp_path / attempts.ATTEMPT_FILE, {"attempt": value})
    assert attempts.current_attempt(tmp_path) == 0


@pytest.mark.parametrize("lost", ["queue", "queue and attempt.json"])
@pytest.mark.parametrize("state", ENDED)
def test_what_an_earlier_first_attempt_was_asked_does_not_end_the_new_one(
    box: Box, tick: Tick, lost: str, state: RunState
) -> None:
    """The row of issue 18: with numbers 1, 2, 3 the new first attempt found the old one's request."""
    run = box.create()
    put_down(run, state)
    if "attempt" in lost:
        (run.folder / attempts.ATTEMPT_FILE).unlink()
    assert box.queue.put(job_for(run))  # as a server of 57d6eac does, which leaves stop.json where it is
    run.write_status(Status(state=RunState.QUEUED, step=3, steps_total=10))
    tick(box.store)
    job = box.queue.job(run.id)
    assert job is not None and job.attempt > attempts.COUNT_UNIT
    assert attempts.stop_of(run.folder, job.attempt) is None
    tick(box.store)
    assert run.status().reason == "its process did not start: No such file or directory"


@pytest.mark.parametrize("whole", [True, False], ids=["lab with its queue", "run folder alone"])
@pytest.mark.parametrize("state", [*ACTIVE, *ENDED])
def test_every_state_resumes_in_another_lab(box: Box, tick: Tick, tmp_path: Path, state: RunState, whole: bool) -> None:
    run = box.create()
    box.queue.put(job_for(run))
    stops = state in (RunState.STOPPING, RunState.STOPPED)
    if state is RunState.QUEUED:
        run.write_status(Status(state=state, step=3, steps_total=10))
    else:
        attempt = box.queue.claim(run.id, ["cpu/0"])
        assert attempt is not None
        put_down(run, state, attempt=attempt, stops=stops)
        if state in ENDED:
            box.queue.release(run.id, attempt, JobState.ENDED)
    box.queue.close()
    store = RunStore(tmp_path / "other" / "runs")
    shutil.copytree(box.store.root if whole else run.folder, store.root if whole else store.root / run.id)
    there = Run(store.root / run.id)
    queue = Queue(store.root)
    if state is RunState.QUEUED:
        take_in_unqueued(store, queue, {})
    else:
        tick(store)
        tick(store)
    if there.status().state in ENDED:
        assert service.resume_run(store, run.id, engine=LocalEngine(store, worker=["/nowhere/python"]))
    queue.close()


def copied_while_it_trains(box: Box, tmp_path: Path) -> tuple[Run, Run, subprocess.Popen[bytes]]:
    run = box.create()
    box.queue.put(job_for(run))
    attempt = box.queue.claim(run.id, ["cpu/0"])
    assert attempt is not None
    environment = {attempts.TOKEN_VARIABLE: attempts.token_of(run.id, attempt)}
    trainer = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment)
    facts = {"attempt": attempt, "slots": ["cpu/0"], "boot_id": boot_id(), "place": attempts.place_of(run.folder)}
    atomic.write_json(run.folder / attempts.ATTEMPT_FILE, facts)
    run.write_status(Status(state=RunState.RUNNING, step=3, steps_total=10, process=own_identity()))
    box.queue.close()
    shutil.copytree(box.store.root, tmp_path / "copy")
    return run, Run(tmp_path / "copy" / run.id), trainer


def test_the_copy_of_a_lab_leaves_the_processes_of_the_first_alone(box: Box, tick: Tick, tmp_path: Path) -> None:
    run, there, trainer = copied_while_it_trains(box, tmp_path)
    try:
        store = RunStore(there.folder.parent)
        assert LocalEngine(store).observe(there).status.state is RunState.INTERRUPTED
        assert LocalEngine(box.store).observe(run).status.state is RunState.RUNNING
        tick(store)
        assert there.status().state is RunState.INTERRUPTED
        assert there.status().reason.startswith("this folder was copied while it trained at step 3; ")
        assert trainer.poll() is None
        renamed = box.store.root.rename(tmp_path / "renamed")
        assert attempts.living_in(renamed / run.id, attempts.current_attempt(renamed / run.id)) == [trainer.pid]
        renamed.rename(box.store.root)
    finally:
        trainer.kill()
        trainer.wait()


@pytest.mark.parametrize(
    ("row", "state", "becomes"),
    [
        ("live", RunState.FINISHED, JobState.ENDED),
        ("live", RunState.STOPPED, JobState.ENDED),
        ("queued", RunState.FINISHED, JobState.ENDED),
        ("queued", RunState.FAILED, JobState.ENDED),
        ("paused", RunState.RUNNING, JobState.LIVE),
        ("queued", RunState.RUNNING, JobState.LIVE),
        ("live", RunState.RUNNING, JobState.LIVE),
    ],
)
def test_where_an_older_queue_was_put_back_the_folder_counts(
    box: Box, tick: Tick, row: str, state: RunState, becomes: JobState
) -> None:
    """A run that ended meanwhile is not started again; one that lives is found, with the number that its folder has."""
    run = box.create()
    box.queue.put(job_for(run))
    if row == "live":
        assert box.queue.claim(run.id, ["cpu/0"])
    if row == "paused":
        box.queue.take_out(run.id, state=JobState.PAUSED)
    newer = attempts.number_after(attempts.number_after(2 * attempts.COUNT_UNIT))
    put_down(run, state, attempt=newer, stops=False)
    (run.folder / attempts.EXIT_FILE).unlink()
    lock = try_lock(lock_path(run)) if state is RunState.RUNNING else None
    tick(box.store)
    job = box.queue.job(run.id)
    assert job is not None and job.state is becomes
    assert run.status().state is state
    if becomes is JobState.LIVE:
        assert job.attempt == newer
    if lock:
        lock.release()


@pytest.mark.parametrize(("state", "becomes"), [(RunState.STOPPED, JobState.ENDED), (RunState.QUEUED, JobState.QUEUED)])
def test_where_an_older_folder_was_put_back_the_folder_counts_too(
    box: Box, tick: Tick, state: RunState, becomes: JobState
) -> None:
    run = box.create()
    box.queue.put(job_for(run))
    attempt = box.queue.claim(run.id, ["cpu/0"])
    run.write_status(Status(state=state, step=3, steps_total=10))
    box.queue.path.touch()
    with box.queue.transaction() as database:
        database.execute("update jobs set device = 'cuda:9' where run_id = ?", (run.id,))  # it will wait
    tick(box.store)
    job = box.queue.job(run.id)
    assert job is not None and (job.state, job.attempt) == (becomes, attempt)
    assert run.status().state is state


def test_a_stop_of_a_waiting_run_that_the_queue_lost_ends_it(box: Box, tick: Tick) -> None:
    run = box.create()
    put_down(run, RunState.QUEUED)
    LocalEngine(box.store).ask_to_stop(run, by="eva")
    assert run.status().reason == "stopped by eva before it went on"
    tick(box.store)
    assert box.queue.job(run.id) is None
    assert run.status().state is RunState.STOPPED


def test_a_stop_goes_to_the_attempt_that_the_folder_knows(box: Box) -> None:
    run = box.create()
    box.queue.put(job_for(run))
    assert box.queue.claim(run.id, ["cpu/0"])
    newer = attempts.number_after(2 * attempts.COUNT_UNIT)
    put_down(run, RunState.RUNNING, attempt=newer, stops=False)
    (run.folder / attempts.EXIT_FILE).unlink()  # it lives
    lock = try_lock(lock_path(run))
    assert lock is not None
    with nobody_serves(box.store):
        LocalEngine(box.store).ask_to_stop(run, by="eva")
    lock.release()
    request = attempts.stop_of(run.folder, newer)
    assert request is not None and request.by == "eva"
