"""One long-lived process that computes, behind an iterator of records: `Compute().remote(question, …)`.

A question is one end of a socket pair, handed over the control socket, which is the process's standard input: no path,
port or password, and whoever asks cancels by closing its end. Nothing is tried twice. Never imports PyTorch.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from core.compute import wire
from core.compute.question import Progress, Question, Request
from core.errors import LabError
from core.home import code_root, python_path
from core.machine.attempts import COMPUTE_VARIABLE

logger = logging.getLogger(__name__)
COMMAND = (sys.executable, "-m", "core.compute.worker")
IDLE_S = 300.0
LOOK_S = 0.1
PATIENCE_S = 5.0  # with one that is stopped
HANGING_UP_S, ENDING_S = 2.0, 60.0  # between the ends of two sockets of a process that ends, and until it is gone
STOPPED = ("T", "t")  # states of /proc/PID/stat
FIRST_TO_GO = "800"  # of the kernel's out-of-memory scores: before the server


class _Child:
    """The process, our end of its control socket, and why it was ended."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.control, theirs = socket.socketpair()
        with theirs:  # not PR_SET_PDEATHSIG, which fires when the *thread* that started it ends
            self.process = subprocess.Popen(
                command,
                cwd=code_root(),
                env={**environment, "PYTHONPATH": python_path(), COMPUTE_VARIABLE: "1"},
                stdin=theirs.fileno(),
                start_new_session=True,
            )
        with contextlib.suppress(OSError), open(f"/proc/{self.process.pid}/oom_score_adj", "w") as file:
            file.write(FIRST_TO_GO)
        self.control.setblocking(False)  # one that does not read holds nobody up
        self.why = ""
        self.uses_gpu = False
        self.stands_since = 0.0  # monotonic seconds since it is stopped, as by SIGSTOP; 0 while it runs

    def death(self) -> str:
        """How it died, in one sentence. It was just seen to hang up: it ends within moments, or lives and refused."""
        try:
            code = self.process.wait(ENDING_S if self._hung_up() else 0.0)
        except subprocess.TimeoutExpired:
            return self.why or "the process that computes takes no more questions now; try again"
        if self.why:
            return self.why
        how = f"killed by signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"the process that computes ended ({how}); try again"

    def _hung_up(self) -> bool:
        """Whether it lets go of all its sockets, as a process that ends does; it may do so a moment after the first."""
        poll = select.poll()
        with contextlib.suppress(ValueError, OSError):  # closed by another thread: it was ended
            poll.register(self.control, select.POLLIN)
            return bool(poll.poll(1000 * HANGING_UP_S))
        return True

    def private_bytes(self) -> int:
        """Memory that it alone holds; 0 when it is gone."""
        with contextlib.suppress(OSError, ValueError), open(f"/proc/{self.process.pid}/statm") as file:
            _, resident, shared, *_ = map(int, file.read().split())
            return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
        return 0

    def stands(self) -> bool:
        """Whether somebody stopped it: nothing that it was asked goes on. Called again and again."""
        with contextlib.suppress(OSError), open(f"/proc/{self.process.pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] not in STOPPED:
                self.stands_since = 0.0
                return False
        self.stands_since = self.stands_since or time.monotonic()
        return time.monotonic() - self.stands_since > PATIENCE_S


class Records(Iterator[Any]):
    """The records of one question: `Progress`, and in the end one `Answer`. Raises the LabError that was answered.

    Not a generator: one that is being read refuses to be closed by another thread.
    """

    def __init__(self, sock: socket.socket, child: _Child) -> None:
        self._sock, self._child = sock, child
        self.closed = False

    def __next__(self) -> Any:
        if self.closed:
            raise StopIteration
        try:
            found = wire.receive(self._sock)
        except wire.HungUp:
            if self.closed:
                raise StopIteration from None
            self.close()
            raise LabError(self._child.death()) from None
        record, self._child.uses_gpu = found
        if isinstance(record, Progress):
            return record
        self.close()
        if isinstance(record, LabError):
            raise record
        return record

    def is_ready(self, seconds: float) -> bool:
        """Waits at most so long for the next record."""
        poll = select.poll()  # not select(), which takes no descriptor above 1,023
        try:
            poll.register(self._sock, select.POLLIN)
        except ValueError:  # closed by another thread
            return True
        return bool(poll.poll(1000 * seconds))

    def close(self) -> None:
        """Cancels, from any thread; after the last record it changes nothing."""
        self.closed = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # close() alone does not wake a thread that reads
        self._sock.close()

    __del__ = close


class Compute:
    """Starts the process when it is needed, watches its memory, and ends it when it is idle.

    budget_bytes: more than that, and it is ended with a sentence. idle_s: seconds without a question after which it
    ends; while is_watched() it stays, unless it holds a GPU, which others may want. is_wanted(): whether somebody waits
    for the GPU that it holds: then it ends as soon as it has nothing to do. All waits are on the monotonic clock.
    """

    def __init__(
        self,
        *,
        budget_bytes: float,
        command: Sequence[str] = COMMAND,
        environment: Mapping[str, str] = os.environ,
        idle_s: float = IDLE_S,
        is_watched: Callable[[], bool] = lambda: False,
        is_wanted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.budget_bytes, self.command, self.environment, self.idle_s = budget_bytes, command, environment, idle_s
        self.is_watched, self.is_wanted = is_watched, is_wanted
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._open: weakref.WeakSet[Records] = weakref.WeakSet()
        self._used_at = 0.0

    def remote(
        self,
        question: Question[Request, Any],
        *request: Request.args,
        **named: Request.kwargs,
    ) -> Records:
        """What the process says of it. Raises OSError when no process can be started."""
        with self._lock:
            child, (ours, theirs) = self._started(), socket.socketpair()
            with theirs, contextlib.suppress(OSError):  # our copy of their end must go, or its closing is never seen
                socket.send_fds(child.control, [b"q"], [theirs.fileno()])
            self._open.add(records := Records(ours, child))
        with contextlib.suppress(wire.HungUp):  # it died already: reading says so
            wire.send(ours, (question, request, named))
        return records

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        child = self._child
        return child.process.pid if child is not None and child.process.poll() is None else None

    def end(self) -> None:
        """Let it end now; whoever reads is told."""
        with self._lock:
            if self._child is not None:
                self._child.control.close()
                self._child = None

    __del__ = end

    def _started(self) -> _Child:
        """Under the lock."""
        self._used_at = time.monotonic()
        if self._child is None or self._child.process.poll() is not None:
            self._child = _Child(self.command, self.environment)
            threading.Thread(target=_watch, args=(weakref.ref(self), self._child), daemon=True).start()
        return self._child

    def is_due(self, child: _Child) -> bool:
        """Whether it must go now. Called ten times a second."""
        with self._lock:
            now = time.monotonic()
            if any(not each.closed for each in self._open):
                self._used_at = now
            needed = child.private_bytes()
            if needed > self.budget_bytes:
                child.why = (
                    f"this needs more than the {self.budget_bytes / 1e9:.1f} GB that screens may compute with, "
                    "so it was ended; ask for less at once"
                )
            elif child.stands():
                child.why = "the process that computes was stopped from outside, so it was ended; try again"
            idle = now - self._used_at
        if not child.why:  # these may fail, and then its memory is watched all the same
            stays = self.is_watched() and not child.uses_gpu
            if stays:
                self._used_at = max(self._used_at, now)
            gives_way = child.uses_gpu and idle > LOOK_S and self.is_wanted()
            if not gives_way and (stays or idle <= self.idle_s):
                return False
        with self._lock:
            busy = any(not each.closed for each in self._open)
            if busy and not child.why:
                return False
            if self._child is child:
                self._child = None  # no question goes to one that ends
        return True


def _watch(owner: weakref.ref[Compute], child: _Child) -> None:
    """Until the process ends, or must; then it leaves no zombie."""
    while child.process.poll() is None:
        compute = owner()
        try:
            due = compute is None or compute.is_due(child)
        except Exception:  # whatever else is asked there, its memory is watched on
            logger.exception("looking after the process that computes")
            due = False
        if due:
            if child.why:
                child.process.kill()
            child.control.close()
            break
        del compute
        time.sleep(LOOK_S)
    child.process.wait()
    child.control.close()
