"""A forked process is what a started one would be: streams, directory, environment, signals, ending."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.machine import attempts
from tests import forked

pytestmark = pytest.mark.usefixtures("forks")
TELL = "import os, sys; print(os.getcwd(), os.environ.get('A'), sys.argv[1:]); sys.stderr.write('!'); sys.exit(3)"
TOKEN = f"forked-{os.getpid()}.1"  # other workers of the session have others
SLEEP = "import time, sys; print('up', flush=True); time.sleep(600)"


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


@pytest.fixture
def sleeper(tmp_path: Path):
    """A client whose process sleeps, and the token that it carries."""
    environment = {**os.environ, attempts.TOKEN_VARIABLE: TOKEN}
    words = forked.command("-c", SLEEP)
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, start_new_session=True) as client:
        assert client.stdout and client.stdout.readline() == b"up\n"
        yield client
        with contextlib.suppress(ProcessLookupError):
            client.kill()


def the_only_one() -> int:
    """The process that carries the token; for a moment its client does, too."""
    wait(lambda: len(attempts.living_pids(TOKEN)) == 1)
    (pid,) = attempts.living_pids(TOKEN)
    return pid


def test_it_runs_as_it_was_asked_to(tmp_path: Path) -> None:
    done = forked.run("-c", TELL, "one", cwd=tmp_path, env={"A": "b"})
    assert (done.returncode, done.stdout, done.stderr) == (3, f"{tmp_path} b ['one']\n", "!")
    again = subprocess.run(
        forked.command("-c", TELL, "two"), cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "A": "c"}
    )
    assert (again.returncode, again.stdout, again.stderr) == (3, f"{tmp_path} c ['two']\n", "!")


def test_pytorch_is_there_and_a_fault_is_a_traceback() -> None:
    done = forked.run("-c", "import sys; assert 'torch' in sys.modules; import torch; torch.ones(2) @ torch.ones(3)")
    assert done.returncode == 1
    assert "RuntimeError" in done.stderr


def test_two_processes_do_not_draw_the_same_numbers() -> None:
    program = "import random, numpy; print(random.random(), numpy.random.rand())"
    assert forked.run("-c", program).stdout != forked.run("-c", program).stdout


def test_it_is_found_by_its_token_and_its_client_is_not(sleeper: subprocess.Popen[bytes]) -> None:
    pid = the_only_one()
    assert pid != sleeper.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_client_ends_both(sleeper: subprocess.Popen[bytes], number: signal.Signals) -> None:
    sleeper.send_signal(number)
    assert sleeper.wait(120) == -number
    wait(lambda: attempts.living_pids(TOKEN) == [])


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_death_of_the_process_is_that_of_the_client(sleeper: subprocess.Popen[bytes], number: signal.Signals) -> None:
    pid = the_only_one()
    os.kill(pid, number)
    assert sleeper.wait(120) == -number


def test_the_server_leaves_with_the_last_who_holds_it(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from tests import forked\n"
        "with forked.serving(pathlib.Path(sys.argv[1]), preloaded=()):\n"
        "    print(forked.run('-c', 'import os; print(os.getppid())').stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=forked.ROOT, capture_output=True, text=True
    )
    wait(lambda: not Path(f"/proc/{int(done.stdout)}").exists())


def test_the_server_imports_what_it_is_told_to_and_keeps_it(tmp_path: Path) -> None:
    def codes(*imports: str) -> int:
        words = ("-c", "import sys; sys.exit('sched' in sys.modules)")
        return forked.Process(*words, env=os.environ, cwd=tmp_path, streams=[0, 1, 2], imports=imports).wait(120)

    assert [codes(), codes("sched"), codes()] == [0, 1, 1]


def test_a_process_of_ones_own_is_looked_at_killed_and_waited_for(tmp_path: Path) -> None:
    process = forked.Process("-c", SLEEP, env=os.environ, cwd=tmp_path, streams=[0, 1, 2])
    assert process.poll() is None
    with pytest.raises(TimeoutError):
        process.wait(0.01)
    process.kill()
    assert process.wait(120) == process.poll() == -signal.SIGKILL
