import json

import pytest

from core.jobs.engines.choose import observed_status
from core.machine import attempts
from core.machine.processes import own_identity
from core.runs.lock import try_lock
from core.runs.run import RunState
from core.runs.store import lock_path

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
