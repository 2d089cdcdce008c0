"""Children die with the process that started them, and not with the thread."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import bound_child as bound
from core.bound_child import bound_child
from core.home import code_root
from core.machine.processes import identity_of, is_alive

SLEEPER = "import os; print(os.getpid(), flush=True); import time; time.sleep(600)"
WITH_CHILD = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]).wait()"
READER = """
import os, time
os.chdir(os.path.dirname(os.path.abspath(__file__)))
open("pid", "w").write(str(os.getpid()))
os.rename("pid", "ready")
time.sleep(600)
"""
PARENTS = {
    "a reader of what a stranger made": (
        "import sys\nfrom pathlib import Path\nfrom core.limited_child import run_limited\n"
        "run_limited('a_reader', '', Path('.'), wall_s=600, cpu_s=600, what='a file', environment={'PYTHONPATH': '.'})"
    ),
    "what t-SNE computes": (
        "import os, sys\nsys.path.insert(0, '.')\nimport numpy as np\nfrom core.latent.inspection import projection\n"
        "projection.CHILD = 'a_reader'\nprojection.python_path = os.getcwd\n"
        "projection.tempfile.tempdir = os.getcwd()\n"
        "projection.embed(np.random.default_rng(0).normal(size=(20, 2, 2, 2)), 2)"
    ),
}


def gone(pid: int) -> None:
    """Wait until it is; the suite's own time limit ends what never does."""
    identity = identity_of(pid)
    while is_alive(identity):
        time.sleep(0.02)


@contextlib.contextmanager
def parent(program: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "PYTHONPATH": str(code_root())}
    process = subprocess.Popen([sys.executable, "-c", program], cwd=folder, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("program", PARENTS.values(), ids=PARENTS)
def test_no_child_outlives_its_parent(tmp_path: Path, program: str) -> None:
    (tmp_path / "a_reader.py").write_text(READER)
    with parent(program, tmp_path) as process:
        while not (tmp_path / "ready").exists():
            assert process.poll() is None
            time.sleep(0.02)
        pid = int((tmp_path / "ready").read_text())
        assert identity_of(pid) is not None
        process.kill()
        process.wait()
        gone(pid)


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """With PR_SET_PDEATHSIG it would not."""
    found = []
    with contextlib.ExitStack() as held:

        def begin() -> None:
            words = [sys.executable, "-c", SLEEPER]
            found.append(held.enter_context(bound_child(words, stdout=subprocess.PIPE, text=True)))

        thread = threading.Thread(target=begin)
        thread.start()
        thread.join()
        child = found[0]
        assert child.stdout and child.stdout.readline().strip() == str(child.pid)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.2)
    assert child.returncode == -signal.SIGKILL


def test_what_a_child_left_behind_ends_with_it() -> None:
    with bound_child([sys.executable, "-c", WITH_CHILD], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        pid = int(child.stdout.readline())
    gone(pid)


DEAF = """
import fcntl, os, time

while not fcntl.fcntl(0, fcntl.F_GETFL) & os.O_ASYNC:  # its parent asks the kernel a moment after the start
    time.sleep(0.001)
fcntl.fcntl(0, fcntl.F_SETFL, 0)
print(os.getpid(), flush=True)
time.sleep(600)
"""  # to the kernel's word that its parent is gone, as a reader of a dead disk is to every signal


def test_what_does_not_end_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, for ever."""
    monkeypatch.setattr(bound, "GONE_S", 0.1)
    with bound_child([sys.executable, "-S", "-c", DEAF], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        pid = int(child.stdout.readline())
    assert child.stdout.closed
    gone(pid)


def test_what_no_signal_ends_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound, "GONE_S", 0.1)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda child: None)
    with bound_child([sys.executable, "-S", "-c", DEAF], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout and child.stdout.readline()
    assert child.returncode is None
    os.kill(child.pid, signal.SIGKILL)
    child.wait()


def test_a_child_that_ends_by_itself_says_how() -> None:
    with bound_child([sys.executable, "-c", "raise SystemExit(3)"]) as child:
        assert child.wait() == 3
    assert child.returncode == 3


def test_what_cannot_be_started_leaves_no_descriptor() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(FileNotFoundError), bound_child(["/nowhere/python"]):
        pass
    assert set(Path("/proc/self/fd").iterdir()) <= before
