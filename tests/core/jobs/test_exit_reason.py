"""How a run ended, composed from the files of its folder alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core import atomic
from core.jobs.exit_reason import (
    MAX_FRUITLESS,
    again,
    asked_to_end,
    ending_of,
    never_started,
    settled,
    without_its_vae,
)
from core.machine import attempts
from core.machine.attempts import boot_id
from core.runs.run import RunState, Status
from tests.core.jobs import standin_worker
from tests.core.jobs.conftest import PATIENCE_S

KEPT = "the last checkpoint is of step 5"


@pytest.fixture
def run(box):
    """Its first attempt was at step 7 and had saved step 5."""
    run = box.create(steps=10)
    standin_worker.save(run, 5)
    run.write_status(replace(run.status(), state=RunState.RUNNING, step=7))
    atomic.write_json(run.folder / attempts.ATTEMPT_FILE, {"attempt": 1, "boot_id": boot_id()})
    return run


def ends(run, attempt=1, **facts):
    atomic.write_json(run.folder / attempts.EXIT_FILE, {"attempt": attempt, "exit_code": 0, **facts})


@pytest.mark.parametrize(
    ("facts", "state", "may_return", "reason"),
    [
        ({}, "failed", False, "its process ended at step 7 (exit code 0) without saying why; the log has the details"),
        ({"exit_code": 3}, "failed", False, "its process ended at step 7 (exit code 3) without saying why"),
        ({"exit_code": -11}, "failed", False, "its process crashed (SIGSEGV) at step 7; the log has the details"),
        ({"exit_code": -9}, "interrupted", True, "its process was killed from outside the lab (SIGKILL) at step 7"),
        ({"exit_code": -15}, "interrupted", False, "its process was killed from outside the lab (SIGTERM) at step 7"),
        ({"exit_code": -9, "oom_kills": 1}, "interrupted", True, "the machine ran out of memory and the system killed"),
        ({"exit_code": None}, "interrupted", True, "its process is gone at step 7, and so is the one that watched it"),
        ({"problem": "its process did not start"}, "failed", False, "its process did not start"),
        ({"attempt": 2}, "interrupted", True, "its process is gone at step 7, and so is the one that watched it"),
    ],
)
def test_a_process_that_died_unasked(run, facts, state, may_return, reason):
    ends(run, **facts)
    ending = ending_of(run, 1)
    assert (ending.state, ending.may_return) == (state, may_return)
    assert ending.reason.startswith(reason)
    assert KEPT in ending.reason or "problem" in facts


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1, "one of its 2 processes died at step 7"),
        (-9, "the process that launched it was killed (SIGKILL) at step 7"),
    ],
)
def test_a_run_of_two_processes_whose_rank_or_launcher_was_killed(run, code, reason):
    """The ranks of a killed launcher save, and tell of the signal that they were sent."""
    saved = RunState.INTERRUPTED if code < 0 else RunState.RUNNING
    run.write_status(replace(run.status(), state=saved, reason="ended by a signal", device="CPU, 2 processes"))
    ends(run, exit_code=code)
    ending = ending_of(run, 1)
    assert (ending.state, ending.may_return) == (RunState.INTERRUPTED, True)
    assert ending.reason.startswith(reason)


@pytest.mark.parametrize(
    ("asked", "device", "state", "reason"),
    [
        (0, "CPU, 1 thread", "failed", "its process ended at step 7 (exit code 1) without saying why"),
        (0, "CPU, 2 processes", "interrupted", "one of its 2 processes died at step 7"),
        (2, "NVIDIA H200 (cuda:0)", "interrupted", "one of its 2 processes died at step 7"),
    ],
)
def test_processes_are_told_as_many_as_there_were(box, asked, device, state, reason):
    run = box.create(num_processes=asked)
    run.write_status(replace(run.status(), state=RunState.RUNNING, step=7, device=device))
    ends(run, exit_code=1)
    ending = ending_of(run, 1)
    assert ending.state == state
    assert ending.reason.startswith(reason)


@pytest.mark.parametrize(
    ("request_", "facts", "reason"),
    [
        ({"level": 1}, {}, f"stopped by bo; it ended before it could save; {KEPT}"),
        ({"level": 2}, {"exit_code": -9}, f"killed by bo; {KEPT}"),
        (
            {"level": 1},
            {"was_killed": True},
            f"killed because it did not stop within {PATIENCE_S:.0f} s of the request by bo; {KEPT}",
        ),
    ],
)
def test_a_process_that_was_asked_to_stop(run, request_, facts, reason):
    attempts.ask_to_stop(run.folder, 1, by="bo", **request_)
    ends(run, **facts)
    ending = ending_of(run, 1)
    assert (ending.state, ending.reason, ending.may_return) == (RunState.STOPPED, reason, False)


def test_what_was_asked_of_another_attempt_does_not_count(run):
    attempts.ask_to_stop(run.folder, 2, level=1, by="bo")
    ends(run, exit_code=-9)
    assert ending_of(run, 1).state is RunState.INTERRUPTED


def test_a_restart_of_the_machine_is_told_and_survived(run):
    atomic.write_json(run.folder / attempts.ATTEMPT_FILE, {"attempt": 1, "boot_id": "an earlier boot"})
    ending = ending_of(run, 1)
    assert (ending.reason, ending.may_return) == (f"the machine was restarted at step 7; {KEPT}", True)


@pytest.mark.parametrize(("code", "may_return"), [(0, False), (-9, True)])
def test_an_interrupted_run_comes_back_only_when_it_did_not_end_by_itself(run, code, may_return):
    run.write_status(replace(run.status(), state=RunState.INTERRUPTED, reason="a signal"))
    ends(run, exit_code=code)
    assert ending_of(run, 1).may_return is may_return


@pytest.mark.parametrize("state", [RunState.FINISHED, RunState.FAILED, RunState.STOPPED])
def test_the_last_word_of_the_worker_stands(run, state):
    run.write_status(replace(run.status(), state=state, reason="its own word"))
    ends(run, exit_code=-9)
    assert (ending_of(run, 1).state, ending_of(run, 1).reason) == (state, "its own word")


def test_a_run_returns_until_it_died_three_times_at_one_checkpoint(run):
    ends(run, exit_code=-9)
    died = ending_of(run, 1)
    ending, step, fruitless = again(run, died, last_step=-1, fruitless=0)
    assert (ending.state, step, fruitless) == (RunState.QUEUED, 5, 0)
    assert ending.reason == f"{died.reason}; queued again"
    assert again(run, died, last_step=5, fruitless=0)[2] == 1
    ending, _, _ = again(run, died, last_step=5, fruitless=MAX_FRUITLESS - 1)
    assert ending.state is RunState.INTERRUPTED
    assert ending.reason.endswith("it died 3 times at the same checkpoint")


def test_a_run_that_waits_again_shows_no_share_of_an_earlier_attempt():
    worked = Status(state=RunState.RUNNING, stage="generating", share=0.6, eta_s=3.0)
    assert settled(worked, RunState.QUEUED) == Status(state=RunState.QUEUED)


def test_a_run_that_shall_not_come_back_is_interrupted(box, run):
    alone = box.create(auto_resume=False)
    assert again(alone, ending_of(run, 1), last_step=-1, fruitless=0)[0].state is RunState.INTERRUPTED


def test_a_worker_that_saved_says_who_asked(run):
    request = attempts.StopRequest(level=1, by="bo")
    assert asked_to_end(run, request, "", 7).reason == f"stopped by bo at step 7; {KEPT}"
    pause = attempts.StopRequest(level=1, by="bo", pauses=True)
    assert asked_to_end(run, pause, "", 7).reason == f"paused by bo at step 7; {KEPT}"
    ending = asked_to_end(run, None, "a signal (SIGTERM)", 7)
    assert (ending.state, ending.reason) == (
        RunState.INTERRUPTED,
        f"ended by a signal (SIGTERM) from outside the lab at step 7; {KEPT}",
    )


def test_a_run_that_never_started_says_why(run, box):
    assert never_started(box.create(), by="bo").reason == "stopped by bo before it began"
    assert never_started(run, by="bo").reason == "stopped by bo before it went on"
    assert never_started(run, by="bo", pauses=True).reason == "paused by bo while it waited"
    assert without_its_vae("v", None).reason == "its VAE run v was deleted"
    assert without_its_vae("v", RunState.STOPPED).reason == "its VAE run v was stopped"


@pytest.mark.parametrize(
    ("requests", "level", "by", "pauses"),
    [
        ([(1, "a", False), (2, "b", False)], 2, "b", False),
        ([(2, "a", False), (1, "b", False)], 2, "a", False),
        ([(1, "a", True), (1, "b", False)], 1, "a", False),
        ([(1, "a", False), (1, "b", True)], 1, "a", False),
        ([(1, "a", True), (1, "b", True)], 1, "a", True),
    ],
)
def test_of_several_requests_the_strongest_counts(tmp_path, requests, level, by, pauses):
    for asked, who, pause in requests:
        attempts.ask_to_stop(tmp_path, 1, level=asked, by=who, pauses=pause)
    found = attempts.stop_of(tmp_path, 1)
    assert (found.level, found.by, found.pauses) == (level, by, pauses)
    assert attempts.stop_of(tmp_path, 2) is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"attempt": 1}', '{"attempt": 1, "level": "2"}', '{"attempt": 1, "level": 3}']
)
def test_a_damaged_request_is_none(tmp_path, text):
    (tmp_path / attempts.STOP_FILE).write_text(text)
    assert attempts.stop_of(tmp_path, 1) is None


def test_a_request_of_an_older_lab_is_read(tmp_path):
    (tmp_path / attempts.STOP_FILE).write_text('{"attempt": 1, "level": 1, "by": "bo", "at": 12.5}')
    assert attempts.stop_of(tmp_path, 1) == attempts.StopRequest(level=1, by="bo", at=12.5)
