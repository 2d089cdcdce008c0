import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from core.machine.processes import (
    identity_of,
    is_alive,
    kill_group,
    own_identity,
    session_members,
    terminate,
    wait_until_dead,
)

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


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


@pytest.mark.parametrize("pid", [0, -1, 2**31])
def test_a_pid_that_cannot_be_has_no_identity(pid):
    assert identity_of(pid) is None


def test_a_zombie_is_dead(sleeper):
    identity = identity_of(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGKILL)
    assert wait_until_dead(identity, 10)
    os.kill(sleeper.pid, 0)  # not reaped yet: the pid still answers
    assert identity_of(sleeper.pid) is None


def test_a_command_name_with_brackets_and_blanks_is_read(tmp_path):
    program = tmp_path / "a) b (c"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(program), "60"])
    try:
        assert is_alive(identity_of(process.pid))
    finally:
        process.kill()
        process.wait()


def test_terminate_does_not_touch_another_process_with_the_pid(sleeper):
    assert not terminate(replace(identity_of(sleeper.pid), start_ticks=1))
    assert sleeper.poll() is None


@pytest.mark.parametrize("send", [terminate, kill_group])
def test_a_pid_too_large_to_be_one_reaches_nobody(send):
    assert not send(replace(own_identity(), pid=2**70))


def test_terminate_reaches_the_process(sleeper):
    assert terminate(identity_of(sleeper.pid))
    assert sleeper.wait(10) == -signal.SIGTERM


def test_kill_group_reaches_what_a_dead_leader_left_behind():
    code = f"import subprocess, time; print(subprocess.Popen({SLEEP!r}).pid, flush=True); time.sleep(60)"
    leader = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True)
    identity = identity_of(leader.pid)
    orphan = identity_of(int(leader.stdout.readline()))
    leader.stdout.close()
    leader.kill()
    leader.wait()
    assert session_members(identity) == [orphan.pid]
    assert kill_group(identity)
    assert wait_until_dead(orphan, 10)


def test_killing_something_that_is_gone_says_so(sleeper):
    identity = identity_of(sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    time.sleep(0.05)
    assert not kill_group(identity)
