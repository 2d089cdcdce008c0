import os
import signal
import sys
import time
from pathlib import Path

import pytest

from core.config.load import settings_from
from core.jobs.engines.local import LocalEngine
from core.jobs.observed import job_process, observed_status
from core.jobs.processes import kill_group
from core.runs.store import RunStore

STANDIN = Path(__file__).with_name("standin_worker.py")


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


@pytest.fixture
def engine(store):
    """The local engine with the stand-in worker; whatever it started is killed at the end."""
    yield LocalEngine(store, command=(sys.executable, str(STANDIN)))
    for run in store.list():
        if process := job_process(run):
            kill_group(process)


@pytest.fixture
def make_settings(tmp_path):
    def make(steps=3, grace_s=2.0, **machine):
        return settings_from(
            {
                "train_vae": {"steps": steps},
                "train_unet": {"steps": steps},
                "machine": {"device": "cpu", "stop_grace_s": grace_s, **machine},
                "paths": {"runs": str(tmp_path / "runs"), "data": str(tmp_path), "cache": str(tmp_path / "cache")},
            }
        )

    return make


@pytest.fixture
def wait_for():
    def wait(condition, timeout_s=20.0):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.02)

    return wait


@pytest.fixture
def wait_for_state(wait_for):
    def wait(run, *states, timeout_s=20.0):
        wait_for(lambda: observed_status(run).state in states, timeout_s)
        return observed_status(run)

    return wait


@pytest.fixture
def kill_minus_9():
    def kill(run):
        os.kill(job_process(run).pid, signal.SIGKILL)

    return kill
