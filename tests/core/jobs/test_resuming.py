"""Runs that are resumed, refused and judged: one look of a supervisor at files and rows that a test wrote."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from core import atomic
from core.__main__ import build_parser
from core.commands.options import folders_exported
from core.config.load import read_site
from core.errors import LabError
from core.home import code_root
from core.jobs import queue as queue_module
from core.jobs import service
from core.jobs.engines.local import LocalEngine
from core.jobs.job_row import CARRIED, job_for
from core.jobs.queue import Job, JobState, Queue
from core.jobs.queue_schema import FORMAT, NewerQueue
from core.jobs.recovery import set_aside_if_damaged, take_in_unqueued
from core.jobs.stop_report import stop_stages
from core.jobs.supervisor import Supervisor
from core.machine import attempts
from core.runs.lock import try_lock
from core.runs.run import Run, RunState, Status
from core.runs.store import RunStore
from tests.core.jobs.conftest import Box
from tests.endings import nobody_serves

Tick = Callable[[], None]


@pytest.fixture
def store(box: Box) -> Iterator[RunStore]:
    with nobody_serves(box.store):
        yield box.store


@pytest.fixture
def queue(store: RunStore) -> Queue:
    return Queue(store.root)


@pytest.fixture
def tick(store: RunStore, queue: Queue) -> Iterator[Tick]:
    """One look of a supervisor at everything."""
    lock = try_lock(queue.folder / "another.lock")
    assert lock is not None
    supervisor = Supervisor(store, lock, worker=["/nowhere/python"])
    supervisor.upgrade_at = float("inf")

    def look() -> None:
        supervisor.tick()

    yield look
    supervisor.housekeeping.close()
    supervisor.queue.close()
    lock.release()


@pytest.fixture
def ended(box: Box, store: RunStore, queue: Queue) -> Run:
    """A run whose first attempt a person stopped at step 3; the request lies in its folder still."""
    run = box.create()
    queue.put(job_for(run))
    attempt = queue.claim(run.id, ["cpu/0"])
    assert attempt is not None
    atomic.write_json(run.folder / attempts.ATTEMPT_FILE, {"attempt": attempt, "slots": ["cpu/0"]})
    attempts.ask_to_stop(run.folder, attempt, level=1, by="bo")
    queue.release(run.id, attempt, JobState.ENDED)
    run.write_status(Status(state=RunState.STOPPED, reason="stopped by bo at step 3", step=3, steps_total=10))
    return run


def put_as_57d6eac(run: Run, queue: Queue) -> None:
    """Queue it as its web server does, which leaves stop.json where it is."""
    run.write_status(Status(state=RunState.QUEUED, step=3, steps_total=10))
    assert queue.put(job_for(run))
    with queue.transaction() as database:
        database.execute("update jobs set device = 'cuda:9' where run_id = ?", (run.id,))  # it will wait


def test_a_request_from_before_it_was_resumed_does_not_end_a_waiting_run(ended: Run, queue: Queue, tick: Tick) -> None:
    put_as_57d6eac(ended, queue)
    assert stop_stages(ended) == []
    tick()
    job = queue.job(ended.id)
    assert job is not None and job.state is JobState.QUEUED
    assert ended.status().state is RunState.QUEUED


@pytest.mark.parametrize("at", [12.5, 1e11])  # whatever the clocks say
def test_a_request_that_nobody_saw_before_it_came_back_ends_it(ended: Run, queue: Queue, tick: Tick, at: float) -> None:
    attempts.withdraw_stop(ended.folder)
    queue.put(job_for(ended))
    attempt = queue.claim(ended.id, ["cpu/0"])
    assert attempt is not None
    ended.write_status(Status(state=RunState.QUEUED, step=3, steps_total=10))
    queue.release(ended.id, attempt, JobState.QUEUED)
    request = attempts.StopRequest(level=1, by="bo", at=at)
    attempts.write_stop(ended.folder, attempt, request)
    tick()
    job = queue.job(ended.id)
    assert job is not None and job.state is JobState.ENDED
    assert ended.status().reason == "stopped by bo before it went on"


def files_of(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file() and path.name != "lock"}


def test_a_newer_queue_refuses_to_resume_before_anything_changes(ended: Run, store: RunStore, queue: Queue) -> None:
    queue.close()
    with sqlite3.connect(queue.path) as database:
        database.execute(f"pragma user_version = {FORMAT + 1}")
    before = files_of(ended)
    with pytest.raises(NewerQueue):
        service.resume_run(store, ended.id, by="ana")
    assert files_of(ended) == before


def refuse_to_queue(queue: Queue, run_id: str) -> None:
    with queue.transaction() as database:
        database.execute(
            f"""create trigger full before insert on jobs when new.run_id = '{run_id}'
                begin select raise(abort, 'database or disk is full'); end"""
        )


def test_what_the_queue_refuses_to_resume_is_as_it_was(ended: Run, store: RunStore, queue: Queue) -> None:
    refuse_to_queue(queue, ended.id)
    before = files_of(ended)
    with pytest.raises((LabError, sqlite3.Error), match="full"):
        service.resume_run(store, ended.id, by="ana")
    assert files_of(ended) == before


def test_of_runs_that_are_queued_together_all_are_or_none(ended: Run, box: Box, store: RunStore, queue: Queue) -> None:
    unet = box.create("unet", parents=(ended.id,))
    refuse_to_queue(queue, unet.id)
    before = files_of(ended)
    with pytest.raises((LabError, sqlite3.Error), match="full"):
        LocalEngine(store).submit([ended, unet], resumed_by="ana")
    assert files_of(ended) == before
    assert [job.run_id for job in queue.jobs()] == []


def test_a_put_of_several_is_refused_as_a_whole(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    assert queue.put(Job(run_id="b"))
    assert not queue.put(Job(run_id="a"), Job(run_id="b"))
    assert [job.run_id for job in queue.jobs()] == ["b"]


def test_a_pause_that_an_older_server_wrote_into_the_table_keeps_the_place(
    box: Box, store: RunStore, queue: Queue, tick: Tick
) -> None:
    run = box.create()
    assert queue.put(job_for(run))
    attempt = queue.claim(run.id, ["cpu/0"])
    with queue.transaction() as database:
        database.execute("update jobs set stop_level = 1, stop_by = 'bo', pauses = 1")
    run.write_status(Status(state=RunState.RUNNING, step=3, steps_total=10))
    atomic.write_json(run.folder / attempts.ATTEMPT_FILE, {"attempt": attempt, "slots": ["cpu/0"]})
    atomic.write_json(run.folder / attempts.STOP_FILE, {"attempt": attempt, "level": 1, "by": "bo", "at": 12.5})
    atomic.write_json(run.folder / attempts.EXIT_FILE, {"attempt": attempt, "exit_code": 0})
    tick()
    job = queue.job(run.id)
    assert job is not None and job.state is JobState.PAUSED and not job.pauses


def test_a_live_run_that_a_lost_queue_forgot_keeps_its_folders_and_its_code(
    box: Box, store: RunStore, queue: Queue
) -> None:
    run = box.create()
    run.write_status(Status(state=RunState.RUNNING, step=3, steps_total=10))
    facts = {"attempt": 4, "slots": ["cpu/0"], "code": "abc", "environment": {"LAB_DATA": "/their/data"}}
    atomic.write_json(run.folder / attempts.ATTEMPT_FILE, facts)
    take_in_unqueued(store, queue, {})
    job = queue.job(run.id)
    assert job is not None and (job.attempt, job.code, job.slots) == (4, "abc", ("cpu/0",))
    assert job.environment == {"LAB_DATA": "/their/data"}


def test_a_restored_job_keeps_its_priority(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.restore_live(Job(run_id="a", priority=3, attempt=1))
    job = queue.job("a")
    assert job is not None and job.priority == 3


def test_a_busy_queue_is_not_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "BUSY_TIMEOUT_S", 0.05)
    queue = Queue(tmp_path)
    queue.put(Job(run_id="a"))
    queue.close()
    other = sqlite3.connect(queue.path, isolation_level=None)
    other.execute("pragma locking_mode = exclusive")
    other.execute("begin exclusive")
    with pytest.raises(LabError, match="busy"):
        set_aside_if_damaged(queue)
    other.close()
    assert [path.name for path in queue.folder.glob("*damaged*")] == []
    set_aside_if_damaged(queue)
    assert [job.run_id for job in queue.jobs()] == ["a"]


def test_a_torn_queue_is_set_aside(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.put(Job(run_id="a"))
    queue.close()
    data = bytearray(queue.path.read_bytes())
    data[4096:] = b"x" * (len(data) - 4096)
    queue.path.write_bytes(bytes(data))
    set_aside_if_damaged(queue)
    assert not queue.exists()


@pytest.fixture
def no_folders(ended: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process names no folder."""
    for name in CARRIED:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_folders")
class TestFolders:
    """Which folders the training of a resumed run reads."""

    def test_those_of_its_last_attempt(self, ended: Run) -> None:
        folders = {name: f"/theirs/{name}" for name in CARRIED}
        atomic.write_json(ended.folder / attempts.ATTEMPT_FILE, {"attempt": 1, "environment": folders})
        assert job_for(ended).environment == folders

    def test_those_in_its_settings_where_an_older_lab_wrote_them(self, ended: Run) -> None:
        paths = {"runs": "runs", "data": "/theirs/data", "cache": "their-cache", "imports": ""}
        ended.config_path.write_text(yaml.safe_dump({"paths": paths}))
        environment = job_for(ended).environment
        assert environment["LAB_DATA"] == "/theirs/data"
        assert environment["LAB_CACHE"] == str(code_root() / "their-cache")
        assert environment["LAB_IMPORTS"] == read_site()[0].environment()["LAB_IMPORTS"]

    def test_what_the_environment_names_goes_before(self, ended: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        folders = {name: f"/theirs/{name}" for name in CARRIED}
        atomic.write_json(ended.folder / attempts.ATTEMPT_FILE, {"attempt": 1, "environment": folders})
        monkeypatch.setenv("LAB_DATA", "/mine")
        assert job_for(ended).environment == {**folders, "LAB_DATA": "/mine"}

    def test_the_site_s_where_nothing_else_is_known(self, ended: Run) -> None:
        ended.config_path.write_text("paths: 3\n")
        site = read_site()[0].environment()
        assert job_for(ended).environment == {name: site[name] for name in CARRIED}

    @pytest.mark.parametrize("named", ["/mine", read_site()[0].environment()["LAB_DATA"]])
    def test_a_command_that_names_one_folder_keeps_the_others(self, ended: Run, named: str) -> None:
        folders = {name: f"/theirs/{name}" for name in CARRIED}
        atomic.write_json(ended.folder / attempts.ATTEMPT_FILE, {"attempt": 1, "environment": folders})
        arguments = build_parser().parse_args(["resume", ended.id, "--set", f"site.data={named}"])
        with folders_exported(arguments):
            assert job_for(ended).environment == {**folders, "LAB_DATA": named}
