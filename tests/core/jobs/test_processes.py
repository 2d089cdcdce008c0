import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from core.machine.processes import identity_of, is_alive, own_identity

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def sleeper():
    process = subprocess.Popen(SLEEP, start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_this_process_is_alive():
    assert is_alive(own_identity())


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot_id": "another boot"}, {"pid": 2**22 + 1}])
def test_another_start_boot_or_pid_is_another_process(sleeper, change):
    assert not is_alive(replace(identity_of(sleeper.pid), **change))


@pytest.mark.parametrize("pid", [0, -1, 2**31, 2**70])
def test_a_pid_that_cannot_be_has_no_identity(pid):
    assert identity_of(pid) is None


def test_a_zombie_is_dead(sleeper):
    identity = identity_of(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # it has died, and nobody has reaped it
    os.kill(sleeper.pid, 0)  # so the pid still answers
    assert not is_alive(identity)
    assert identity_of(sleeper.pid) is None


def test_a_command_name_with_brackets_and_blanks_is_read(tmp_path):
    program = tmp_path / "a) b (c"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(program), "600"])
    try:
        assert is_alive(identity_of(process.pid))
    finally:
        process.kill()
        process.wait()
