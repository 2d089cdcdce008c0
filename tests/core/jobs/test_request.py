"""What belongs to the request for a run: how it is said, kept and read, and what the local engine makes of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from core.config.site import SlurmSettings
from core.errors import LabError, UsageError
from core.jobs import service
from core.jobs.engines.slurm import with_request
from core.jobs.exit_reason import asked_to_end, ending_of
from core.jobs.job_row import job_for
from core.jobs.memory_needs import needs_of
from core.jobs.queue import JobState
from core.jobs.queue_view import queue_view
from core.jobs.request import (
    FILE,
    JobRequest,
    in_words,
    keep_request,
    moment_in,
    moment_in_words,
    read_request,
    seconds_in,
)
from core.jobs.request import from_text as row_text
from core.machine import attempts
from core.machine.attempts import LIMIT, ROOM, StopRequest
from core.runs.run import RunState
from tests.core.jobs.conftest import ENDLESS

NOON = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("1d", 86400), ("1.5 h", 5400), ("45s", 45)]
)
def test_a_time_limit_is_read_as_people_write_it(text, seconds):
    assert seconds_in(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2h foo", "-2h", "0s", "999d", "1e5h"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(UsageError):
        seconds_in(text)


@pytest.mark.parametrize(
    ("text", "hours"), [("22:00", 10), ("9:30", 21.5), ("+2h", 2), ("2026-12-02 12:00", 24), ("2026-12-01T13:00Z", 1)]
)
def test_a_start_is_the_next_such_moment(text, hours):
    assert datetime.fromisoformat(moment_in(text, NOON)) == NOON + timedelta(hours=hours)


@pytest.mark.parametrize("text", ["25:00", "yesterday", "2026-11-30 12:00", "2040-01-01", "", "+2"])
def test_a_start_that_is_no_moment_to_come_is_refused(text):
    with pytest.raises(UsageError):
        moment_in(text, NOON)


def test_a_start_is_worded_with_its_date_when_that_is_another():
    assert moment_in_words("2026-12-01T22:00:00+00:00", NOON) == "22:00"
    assert moment_in_words("2026-12-02T08:00:00+00:00", NOON) == "2026-12-02 08:00"


def test_a_request_is_kept_beside_the_run_and_not_in_its_settings(box):
    run = box.create()
    request = JobRequest(time_limit_s=7200.0, requeue=True, preemptible=True, partition="long", priority=2)
    keep_request(run, request)
    assert read_request(run) == request
    assert json.loads((run.folder / FILE).read_text())["format"] == 1
    assert "time_limit" not in run.config_path.read_text() + (run.folder / "run.json").read_text()
    assert in_words(request) == "time limit 2 h, then queued again · may be interrupted for others · partition long"
    keep_request(run, JobRequest())
    assert not (run.folder / FILE).exists() and read_request(run) == JobRequest()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"format": 2}', "newer"),
        ('{"format": 1, "colour": 1}', "colour"),
        ('{"format": 1, "time_limit_s": -1}', "time_limit_s"),
        ("[]", "job.json"),
    ],
)
def test_a_request_that_is_not_understood_is_not_acted_on(box, text, words):
    run = box.create()
    (run.folder / FILE).write_text(text)
    with pytest.raises(LabError, match=words):
        job_for(run)


def test_a_request_says_how_many_processes_share_the_batches_of_a_run(box):
    run = box.create(steps=ENDLESS)
    keep_request(run, JobRequest(num_processes=2))
    assert job_for(run).num_processes == 2
    assert run.settings.machine.num_processes == 1
    assert in_words(read_request(run)) == "2 processes"
    with pytest.raises(UsageError, match=r"^--processes: 7 does not divide train_vae.batch_size \d+ in 1 parts"):
        box.engine.submit([run], request={"num_processes": 7})
    assert read_request(run).num_processes == 2
    assert needs_of(run)(False).host > needs_of(box.create(steps=ENDLESS))(False).host


def test_a_row_of_another_version_is_read_as_far_as_it_goes():
    assert row_text('{"time_limit_s": 5, "colour": 1, "requeue": 3}') == JobRequest(time_limit_s=5.0)
    assert row_text(7) == JobRequest()


def test_requeue_without_a_limit_is_refused():
    with pytest.raises(UsageError, match="--time-limit"):
        JobRequest().with_changes({"requeue": True})


def test_options_of_a_cluster_are_refused_on_one_machine_and_nothing_is_created(box):
    with pytest.raises(UsageError, match="--partition"):
        service.start_runs(
            box.store,
            lambda made: made.append(box.create()),
            request={"partition": "long"},
            engine=box.engine,
        )
    assert box.store.list() == []


def test_what_a_request_says_of_slurm_stands_in_the_place_of_the_sites_own():
    site = SlurmSettings(partition="short", qos="low", time_limit="1:00", save_ahead_s=120, directives=("--mem=8G",))
    asked = with_request(site, JobRequest(partition="long", time_limit_s=3600.0, directives=("--mem=32G",)))
    assert (asked.partition, asked.qos, asked.time_limit) == ("long", "low", "63")
    assert asked.directives == ("--mem=8G", "--mem=32G")
    assert with_request(site, JobRequest()) == site


def test_an_ending_says_what_it_made_room_for_or_which_limit_it_reached(box):
    run = box.create()
    keep_request(run, JobRequest(time_limit_s=7200.0))
    room = asked_to_end(run, StopRequest(level=1, by="ben", cause=ROOM, returns=True), "", 7)
    assert room.state is RunState.QUEUED and not room.may_return
    assert room.reason.startswith("interrupted for a run of ben at step 7")
    assert room.reason.endswith("continues by itself")
    limit = asked_to_end(run, StopRequest(level=1, by=LIMIT, cause=LIMIT), "", 7)
    assert limit.state is RunState.STOPPED and limit.reason.startswith("stopped at its time limit of 2 h at step 7")


def test_what_a_person_asks_replaces_what_no_person_asked_and_not_the_other_way_round(tmp_path):
    attempts.ask_to_stop(tmp_path, 1, level=1, by="ben", cause=ROOM, returns=True)
    attempts.ask_to_stop(tmp_path, 1, level=1, by="ana", pauses=True)
    found = attempts.stop_of(tmp_path, 1)
    assert found is not None and (found.by, found.pauses, found.returns, found.cause) == ("ana", True, False, "")
    attempts.ask_to_stop(tmp_path, 1, level=1, by=LIMIT, cause=LIMIT, returns=True)
    assert attempts.stop_of(tmp_path, 1) == found


def test_a_stop_by_a_person_counts_although_the_run_had_saved_to_make_room(box):
    run = box.create()
    run.write_status(run.status().__class__(state=RunState.QUEUED, reason="interrupted for a run of ben", step=7))
    attempts.write_stop(run.folder, 5, StopRequest(level=1, by="ana"))
    ending = ending_of(run, 5)
    assert (ending.state, ending.reason) == (RunState.STOPPED, "stopped by ana before it went on")


@pytest.mark.slow
def test_a_run_that_starts_later_waits_in_words_and_passes_the_others(box):
    later, now = box.create(steps=2), box.create(steps=2)
    box.submit(later, request={"start_at": moment_in("+3h")})
    box.submit(now)
    box.wait_until_judged(now)
    assert now.status().state is RunState.FINISHED
    box.wait(lambda: box.queue.job(later.id).waits_for.startswith("its start at "))
    entry = queue_view(box.store)[0]
    assert entry.expected_start_s is not None and entry.expected_start_s > 3 * 3600 - 600
    box.queue.clock = box.thread.supervisor.queue.clock = lambda: datetime.now(UTC).timestamp() + 4 * 3600
    box.wait_until_judged(later)
    assert later.status().state is RunState.FINISHED


@pytest.mark.slow
def test_a_run_is_saved_and_ended_at_its_time_limit(box):
    run = box.create(steps=ENDLESS)
    box.submit(run, request={"time_limit_s": 1.0})
    box.wait_until_judged(run)
    status = run.status()
    assert status.state is RunState.STOPPED
    assert status.reason.startswith("stopped at its time limit of 1 s")
    service.resume_run(box.store, run.id, engine=box.engine, request={"time_limit_s": None})
    assert read_request(run) == JobRequest() == box.queue.job(run.id).request


@pytest.mark.slow
def test_a_run_is_queued_again_at_its_time_limit_until_it_is_done_or_comes_no_further(box, monkeypatch):
    run = box.create(steps=ENDLESS)
    box.submit(run, request={"time_limit_s": 1.0, "requeue": True})
    box.wait(lambda: len(box.marks("start")) >= 3)
    box.hurry()
    box.wait_until_judged(run)
    assert run.status().state is RunState.FINISHED
    reasons = [event["reason"] for event in run.events() if event["event"] == "queued"]
    assert len(reasons) >= 2
    assert all("time limit of 1 s" in words and words.endswith("; queued again") for words in reasons)
    assert box.queue.job(run.id).state is JobState.ENDED
