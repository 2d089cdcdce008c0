import json

import pytest

from core import atomic
from core.jobs.engines.choose import observed_status
from core.machine import attempts
from core.machine.processes import own_identity
from core.runs.lock import try_lock
from core.runs.run import RunState
from core.runs.store import lock_path
from tests.core.jobs.conftest import ENDLESS

ODD_PIDS = [None, "x", [], {}, 1.5, -1, 2**70, True]


@pytest.fixture
def run(box):
    return box.create()


def claim(run, state, process=None):
    values = json.loads(run.status_path.read_text())
    run.status_path.write_text(json.dumps({**values, "state": state, "process": process}))


@pytest.mark.parametrize("pid", ODD_PIDS)
def test_a_status_with_a_pid_that_cannot_be_has_no_process(run, pid):
    claim(run, "running", {"boot_id": own_identity().boot_id, "pid": pid, "start_ticks": 1})
    assert observed_status(run).state is RunState.INTERRUPTED


def test_waiting_needs_no_process(run):
    assert observed_status(run).state is RunState.QUEUED


@pytest.mark.parametrize("state", ["starting", "running", "stopping", "resuming"])
def test_an_active_state_is_believed_while_the_lock_is_held_and_no_longer(run, state):
    claim(run, state)
    lock = try_lock(lock_path(run))
    assert observed_status(run).state == state
    attempts.ask_to_stop(run.folder, 0, level=1, by="bo")
    assert observed_status(run).state is RunState.STOPPING
    lock.release()
    status = observed_status(run)
    assert (status.state, status.reason) == (
        RunState.STOPPED,
        "stopped by bo; it ended before it could save; no checkpoint was saved",
    )
    assert json.loads(run.status_path.read_text())["state"] == state, "looking changes nothing"


@pytest.mark.parametrize("process", [None, {"boot_id": own_identity().boot_id, "pid": 2**22 + 1, "start_ticks": 1}])
def test_a_lock_says_nothing_once_the_attempt_has_ended(run, process):
    """Whoever judges an ended attempt holds the lock for a moment, on a full disk again and again."""
    claim(run, "running", process)
    atomic.write_json(run.folder / attempts.ATTEMPT_FILE, {"attempt": 7})
    lock = try_lock(lock_path(run))
    attempts.write_exit(run.folder, {"attempt": 6, "exit_code": 1})
    assert observed_status(run).state is RunState.RUNNING, "an earlier attempt's end is not believed"
    attempts.write_exit(run.folder, {"attempt": 7, "exit_code": 1, "disk_full": True})
    judged = observed_status(run)
    lock.release()
    assert judged == observed_status(run)
    assert judged.state is RunState.FAILED


def test_a_new_attempt_takes_away_how_the_last_one_ended(box):
    """So that its start is believed before attempt.json names it."""
    run = box.create(steps=ENDLESS)
    box.submit(run)
    box.wait_for_step(run, 1)
    box.engine.ask_to_stop(run, by="ana")
    box.wait_until_judged(run)
    assert (run.folder / attempts.EXIT_FILE).exists()
    box.submit(run)
    box.wait_for(run, RunState.RUNNING)
    assert not (run.folder / attempts.EXIT_FILE).exists()
