import threading
from dataclasses import replace

import pytest

from core import atomic
from core.config.load import settings_from
from core.errors import DataUnavailable, LabError, RunBusy, RunNotFound, StorageFull, UsageError
from core.jobs import frozen_code, service
from core.jobs.engines import local
from core.jobs.engines.choose import observed_status
from core.jobs.queue import JobState, Queue
from core.jobs.queue_order import move_run, set_priority
from core.jobs.queue_view import queue_view
from core.jobs.service import delete_run, inherit, request_stop, restore_run, resume_run, start_training
from core.machine import attempts
from core.rules import NEWEST, Rules
from core.runs.lock import try_lock
from core.runs.run import ProcessIdentity, RunState, Status
from core.runs.store import lock_path
from tests.core.jobs.conftest import PATIENCE_S
from tests.endings import nobody_serves


def create_nothing_wrong(*arguments, **options):
    """The check that finds nothing."""


@pytest.fixture
def store(box):
    """A runs folder whose queue nobody serves."""
    with nobody_serves(box.store):
        yield box.store


@pytest.fixture
def begin(store, box):
    def begin(kind, **options):
        options = {"check": create_nothing_wrong, "store": store, "owner": "ana", **options}
        return start_training(kind, box.settings(), **options)

    return begin


@pytest.fixture
def vae(begin):
    run = begin("vae")[0]
    run.write_status(Status(state=RunState.FINISHED, step=3, steps_total=3))
    return run


@pytest.mark.slow
def test_all_creates_a_vae_run_and_its_unet_run_with_names_that_differ(begin):
    vae, unet = begin("all", name="x")
    assert (vae.info.name, unet.info.name, unet.info.parents) == ("x (VAE)", "x", (vae.id,))


def test_a_unet_run_is_resumed_with_the_vae_that_it_still_needs(begin, store):
    vae, unet = begin("all")
    for run in (vae, unet):
        Queue(store.root).forget(run.id)
        run.write_status(Status(state=RunState.FAILED, step=1, steps_total=3))
    assert resume_run(store, unet.id) == [vae, unet]


def test_what_the_check_refuses_creates_nothing(begin, store):
    def check(*arguments, **options):
        raise DataUnavailable("no such data")

    with pytest.raises(DataUnavailable):
        begin("all", check=check)
    assert store.list() == []


def test_a_run_that_cannot_begin_starts_no_supervisor(box):
    settings = settings_from({"data": {"name": "kmnist", "download": False}})
    with pytest.raises(DataUnavailable, match="'kmnist' is not in"):
        start_training("vae", settings, store=box.store)
    assert not Queue(box.store.root).folder.exists()


def test_a_unet_without_a_vae_is_refused_and_told_which_there_are(begin, vae):
    with pytest.raises(UsageError, match=f"use --vae with one of {vae.id}"):
        begin("unet")


def test_a_unet_without_any_vae_is_told_to_train_one(begin):
    with pytest.raises(UsageError, match="none is finished yet"):
        begin("unet")


@pytest.mark.parametrize("state", [RunState.STOPPED, RunState.FAILED, RunState.QUEUED])
def test_an_unfinished_vae_is_refused(begin, vae, state):
    vae.write_status(Status(state=state))
    with pytest.raises(RunBusy, match="not finished"):
        begin("unet", vae_run=vae.id)


def test_a_unet_reads_the_images_by_the_rules_that_its_vae_had(begin, store, box):
    old = store.create("vae", box.settings(), owner="ana", rules=Rules())
    old.write_status(Status(state=RunState.FINISHED, step=3, steps_total=3))
    asked = []
    (unet,) = begin("unet", vae_run=old.id, check=lambda *_, **options: asked.append(options["rules"]))
    assert asked == [unet.rules] == [replace(NEWEST, folders=1, bit_depth=1)]
    assert begin("vae")[0].rules == NEWEST
    assert begin("vae", preset="quick-2026-11")[0].rules == replace(NEWEST, noise=1, split=1)


def test_a_vae_run_that_does_not_exist_is_refused(begin, store):
    with pytest.raises(RunNotFound):
        begin("unet", vae_run="nope")


def test_a_unet_inherits_what_it_did_not_choose_itself(vae):
    other = settings_from({"data": {"name": "digits"}, "unet": {"dropout": 0.1}})
    merged = inherit(other, vae, ["unet.dropout"])
    assert (merged.data.name, merged.unet.dropout) == ("mnist", 0.1)


@pytest.mark.parametrize("name", ["data.name", "data"])
def test_a_contradiction_that_was_chosen_is_refused(vae, name):
    with pytest.raises(UsageError, match="was trained with"):
        inherit(settings_from({"data": {"name": "digits"}}), vae, [name])


def test_a_choice_that_agrees_is_no_contradiction(vae):
    assert inherit(settings_from({}), vae, ["data.name"]).data == vae.settings.data


def test_a_run_just_created_is_believed_to_be_queued(begin):
    assert observed_status(begin("vae")[0]).state is RunState.QUEUED


def test_a_run_that_waits_can_be_taken_out_by_anybody(begin, store):
    run = begin("vae")[0]
    request_stop(store, run.id, by="bo")
    status = observed_status(run)
    assert (status.state, status.reason) == (RunState.STOPPED, "stopped by bo before it began")


def test_a_run_that_waits_is_not_deleted_before_it_is_stopped(begin, store):
    run = begin("vae")[0]
    with pytest.raises(RunBusy):
        delete_run(store, run.id)
    request_stop(store, run.id)
    delete_run(store, run.id, by="bo")
    assert store.list() == []
    assert restore_run(store, run.id, by="ana").id == run.id


def test_a_run_that_comes_back_from_the_trash_is_not_stopped_by_what_was_asked_before(begin, store):
    """Its attempts are counted on, and what was asked of an earlier one is taken back."""
    run = begin("vae")[0]
    queue = Queue(store.root)
    first = queue.claim(run.id, ["cpu/0"])
    assert first is not None
    atomic.write_json(run.folder / attempts.ATTEMPT_FILE, {"attempt": first, "slots": ["cpu/0"]})
    attempts.ask_to_stop(run.folder, first, level=1, by="bo")
    run.write_status(Status(state=RunState.STOPPED, step=3, steps_total=3))
    queue.release(run.id, first, JobState.ENDED)
    delete_run(store, run.id)
    queue.forget(run.id)
    restore_run(store, run.id)
    resume_run(store, run.id)
    attempt = queue.claim(run.id, ["cpu/0"])
    assert attempt is not None and attempt > first
    assert attempts.stop_of(run.folder, attempt) is None


def live_but_stopped(store, run):
    """Its status says that it stopped; its process, and so its place in the queue, is not gone yet."""
    attempt = Queue(store.root).claim(run.id, ["cpu:0"])
    run.write_status(Status(state=RunState.STOPPED, step=3, steps_total=3))
    return attempt


def test_a_run_whose_process_is_still_ending_is_waited_for_and_deleted(begin, store, monkeypatch):
    monkeypatch.setattr(service, "RELEASE_PATIENCE_S", PATIENCE_S)
    run = begin("vae")[0]
    attempt = live_but_stopped(store, run)
    later = threading.Timer(0.5, lambda: Queue(store.root).release(run.id, attempt, JobState.ENDED))
    later.start()
    delete_run(store, run.id)
    later.join()
    assert store.list() == []


@pytest.mark.parametrize("what", ["its row", "its lock"])
def test_a_run_whose_process_is_still_ending_is_waited_for_and_resumed(begin, store, monkeypatch, what):
    """Resume was refused for as long as the process took to end: ten seconds after "failed"."""
    monkeypatch.setattr(local, "RELEASE_PATIENCE_S", PATIENCE_S)
    run = begin("vae")[0]
    queue = Queue(store.root)
    attempt = live_but_stopped(store, run)
    lock = try_lock(lock_path(run)) if what == "its lock" else None
    if lock:
        queue.release(run.id, attempt, JobState.ENDED)
    end = lock.release if lock else lambda: Queue(store.root).release(run.id, attempt, JobState.ENDED)
    later = threading.Timer(0.5, end)
    later.start()
    assert resume_run(store, run.id) == [run]
    later.join()
    assert queue.job(run.id).state is JobState.QUEUED


def test_a_process_that_does_not_end_is_not_resumed_beside_it(begin, store, monkeypatch):
    monkeypatch.setattr(local, "RELEASE_PATIENCE_S", 0.3)
    run = begin("vae")[0]
    live_but_stopped(store, run)
    with pytest.raises(RunBusy, match="is being worked on"):
        resume_run(store, run.id)
    assert run.status().state is RunState.STOPPED


def test_a_process_that_does_not_end_keeps_its_run(begin, store, monkeypatch):
    monkeypatch.setattr(service, "RELEASE_PATIENCE_S", 0.3)
    run = begin("vae")[0]
    live_but_stopped(store, run)
    with pytest.raises(RunBusy, match="still ending; try again in a moment"):
        delete_run(store, run.id)
    assert store.get(run.id).id == run.id


def test_what_cannot_be_queued_leaves_nothing_behind(begin, store, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(frozen_code, "freeze", full)
    with pytest.raises(StorageFull):
        begin("all")
    assert store.list() == []


@pytest.mark.parametrize("priority", [-11, 11, 1000])
def test_a_priority_out_of_range_is_refused(begin, store, priority):
    with pytest.raises(UsageError, match="from -10 to 10"):
        begin("vae", priority=priority)
    run = begin("vae")[0]
    with pytest.raises(UsageError):
        set_priority(store, run.id, priority)


def test_moving_is_written_down_and_refused_for_what_does_not_wait(begin, store, vae):
    first, second = begin("vae")[0], begin("vae")[0]
    move_run(store, second.id, to="first", by="bo")
    assert [entry.run.id for entry in queue_view(store) if entry.run.id != vae.id] == [second.id, first.id]
    assert second.events()[-1] | {"at": ""} == {"at": "", "event": "moved in the queue", "by": "bo", "to": "first"}
    with pytest.raises(UsageError, match="must be one of"):
        move_run(store, second.id, to="the moon")
    request_stop(store, first.id)
    with pytest.raises(LabError, match="is not queued"):
        move_run(store, first.id, to="last")


def test_another_boot_means_interrupted(vae):
    vae.write_status(
        Status(state=RunState.RUNNING, process=ProcessIdentity(boot_id="another", pid=1, start_ticks=1), step=3)
    )
    status = observed_status(vae)
    assert status.state is RunState.INTERRUPTED
    assert status.reason.startswith("the machine was restarted")


@pytest.mark.parametrize(
    ("act", "took_effect"),
    [
        (lambda store, run: request_stop(store, run.id, by="bo"), lambda run, job: job.state is JobState.ENDED),
        (lambda store, run: service.pause_run(store, run.id, by="bo"), lambda run, job: job.state is JobState.PAUSED),
        (lambda store, run: move_run(store, run.id, to="last", by="bo"), lambda run, job: job.place > 1),
        (lambda store, run: set_priority(store, run.id, 3, by="bo"), lambda run, job: job.priority == 3),
    ],
    ids=["stop", "pause", "move", "priority"],
)
def test_what_took_effect_is_no_error_where_it_cannot_be_put_on_record(begin, store, act, took_effect):
    run, _ = begin("vae")[0], begin("vae")
    (run.folder / "events.jsonl").unlink(missing_ok=True)
    (run.folder / "events.jsonl").mkdir()
    act(store, run)
    assert took_effect(run, Queue(store.root).job(run.id))
