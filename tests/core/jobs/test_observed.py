import json

import pytest

from core.jobs.observed import job_process, job_run_ids, observed_status, settle
from core.jobs.processes import own_identity
from core.runs.run import RunState

ODD_PIDS = [None, "x", [], {}, 1.5, -1, 2**70, True]


@pytest.fixture
def run(store, make_settings):
    return store.create("vae", make_settings())


def write_job_text(run, text):
    (run.folder / "job.json").write_text(text)


@pytest.mark.parametrize("text", ["", "{", "3", "null", "[]", '"x"', "{}", '{"process": 3}', "[" * 100_000])
def test_a_damaged_job_file_is_as_good_as_none(run, text):
    write_job_text(run, text)
    assert job_process(run) is None
    assert job_run_ids(run) == (run.id,)
    assert observed_status(run).state is RunState.QUEUED


@pytest.mark.parametrize("run_ids", [None, "abc", 3, {}, []])
def test_run_ids_that_are_no_list_are_the_run_alone(run, run_ids):
    write_job_text(run, json.dumps({"run_ids": run_ids}))
    assert job_run_ids(run) == (run.id,)


@pytest.mark.parametrize("pid", ODD_PIDS)
def test_a_job_with_a_pid_that_cannot_be_has_no_process(run, pid):
    process = {"boot_id": own_identity().boot_id, "pid": pid, "start_ticks": 1}
    write_job_text(run, json.dumps({"run_ids": [run.id], "process": process}))
    assert settle(run).state is RunState.INTERRUPTED


@pytest.mark.parametrize("pid", ODD_PIDS)
def test_a_status_with_a_pid_that_cannot_be_has_no_process(run, pid):
    values = json.loads(run.status_path.read_text())
    values["process"] = {"boot_id": own_identity().boot_id, "pid": pid, "start_ticks": 1}
    run.status_path.write_text(json.dumps({**values, "state": "running"}))
    assert observed_status(run).state is RunState.INTERRUPTED
