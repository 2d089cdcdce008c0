"""The small process between supervisor and training: one an attempt. It holds the run's lock, outlives supervisor and
server, passes stop requests on, leaves no process behind, and writes down how the attempt ended.

`python -m core.jobs.shim --run FOLDER --attempt N --lock FD --grace S [--limit S [--requeue]] [--child PID | --adopt]
-- COMMAND…`. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from core import atomic, errors, reading
from core.jobs.confinement import SEAL_VARIABLE, confine
from core.machine import attempts

logger = logging.getLogger(__name__)

TICK_S = 0.1
LEFTOVER_GRACE_S = 5.0
_SET_CHILD_SUBREAPER = 36


class Shim:
    """Watches the processes of one attempt until none is left.

    child: pid of the training, where this process has forked it already. adopt: the processes live already and their
    first shim is gone; they are found by their token. Its moments are
    monotonic: a clock that is set must not end the grace before the training has saved. limit_s: from now, after which
    the training saves and ends, or with `requeues` is queued again.
    """

    def __init__(
        self,
        folder: Path,
        attempt: int,
        *,
        grace_s: float,
        child: int | None = None,
        adopt: bool = False,
        limit_s: float | None = None,
        requeues: bool = False,
    ) -> None:
        self.folder, self.attempt, self.grace_s, self.adopt = folder, attempt, grace_s, adopt
        self.token = attempts.token_of(folder.name, attempt)
        self.child = child
        self.exit_code: int | None = None
        self.level = 0
        self.asked_at: float | None = None
        self.was_killed = False
        self.left_at: float | None = None
        self.ends_at = math.inf if limit_s is None else time.monotonic() + limit_s
        self.requeues = requeues

    def run(self, command: Sequence[str]) -> None:
        """Start the command (or adopt), watch it, and write exit.json at the end."""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        oom_before = _oom_kills()
        with contextlib.suppress(OSError):
            attempts.reserve_exit(self.folder)
        problem = "" if self.adopt or self.child is not None else self._start(command)
        if self.child is not None:
            self._tell_pid(self.child)
        if not problem:
            while self._is_watching():
                time.sleep(TICK_S)
        end = {
            "format": attempts.FORMAT,
            "attempt": self.attempt,
            "exit_code": self.exit_code,
            "problem": problem,
            "stop_level": self.level,
            "was_killed": self.was_killed,
            "oom_kills": max(0, _oom_kills() - oom_before),
            "left": len(attempts.living_pids(self.token)),
            "disk_full": atomic.is_full(self.folder),
            "at": time.time(),
        }
        while True:
            try:
                attempts.write_exit(self.folder, end)
                return
            except FileNotFoundError:  # the run was deleted under us
                return
            except PermissionError as error:  # something else is in its place
                if SEAL_VARIABLE in os.environ:
                    logger.error("the end of %s cannot be written: %s", self.token, error)
                    return
                time.sleep(1.0)
            except OSError as error:  # a full disk: the outcome waits until there is room
                logger.error("the end of %s cannot be written yet: %s", self.token, error)
                time.sleep(1.0)

    def _start(self, command: Sequence[str]) -> str:
        """Start the training's process in a session of its own; what went wrong in words, else ''."""
        environment = {**os.environ, attempts.TOKEN_VARIABLE: self.token}
        try:
            with open(self.folder / "log.txt", "ab", buffering=0, opener=_without_waiting) as log:
                child = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            words = "the disk or the quota is full" if errors.is_full_disk(error) else error.strerror or error
            return f"its process did not start: {words}"
        self.child = child.pid
        child.returncode = 0  # `_reap` collects it: nothing is left to do for Popen
        return ""

    def _tell_pid(self, pid: int) -> None:
        with contextlib.suppress(OSError):
            facts = reading.read_object(self.folder / attempts.ATTEMPT_FILE)
            atomic.write_json(self.folder / attempts.ATTEMPT_FILE, {**facts, "worker_pid": pid})

    def _is_watching(self) -> bool:
        """One look: reap, pass requests on, end what is left. False once nothing of the attempt lives."""
        self._reap()
        self._look_for_requests()
        main_lives = self.child is not None and self.exit_code is None
        if main_lives:
            self._enforce(time.monotonic())
            return True
        left = len(attempts.living_pids(self.token))
        if not left:
            return False
        if self.adopt:
            self._enforce(time.monotonic())
            return True
        now = time.monotonic()
        if self.left_at is None:  # ranks or data workers outlived their launcher
            self.left_at = now
            attempts.signal_all(self.token, signal.SIGTERM)
        patience = self.grace_s if self.level == 0 else LEFTOVER_GRACE_S
        if self.level == 2 or now - self.left_at > patience:
            attempts.signal_all(self.token, signal.SIGKILL)
        return True

    def _reap(self) -> None:
        """Collect every child that ended: the training, and orphans of it that came to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self.exit_code = os.waitstatus_to_exitcode(status)

    def _look_for_requests(self) -> None:
        if self.level == 0 and self.asked_at is None and time.monotonic() >= self.ends_at:
            self._reach_limit()
        request = attempts.stop_of(self.folder, self.attempt)
        if request is not None and request.level > self.level:
            self._ask(request.level)

    def _reach_limit(self, *, is_alone: bool = False) -> None:
        """Ask for a stop as a person would; tried again at the next look where it cannot be written down."""
        cause, returns = attempts.LIMIT, self.requeues
        with contextlib.suppress(OSError):
            attempts.ask_to_stop(
                self.folder, self.attempt, level=1, by=cause, cause=cause, returns=returns, is_alone=is_alone
            )

    def _ask(self, level: int) -> None:
        if self.asked_at is None:
            self.asked_at = time.monotonic()
            self._terminate()
        self.level = level

    def _enforce(self, now: float) -> None:
        """Kill what was told to, or did not stop within its grace."""
        if self.asked_at is None or (self.level < 2 and now - self.asked_at <= self.grace_s):
            return
        self.was_killed = True
        if self.child is not None and self.exit_code is None:
            with contextlib.suppress(OSError):
                os.killpg(self.child, signal.SIGKILL)
        attempts.signal_all(self.token, signal.SIGKILL)

    def _terminate(self) -> None:
        """SIGTERM to the training; torchrun passes it on to its ranks."""
        if self.child is not None and self.exit_code is None:
            with contextlib.suppress(OSError):
                os.kill(self.child, signal.SIGTERM)
        elif self.adopt:
            attempts.signal_all(self.token, signal.SIGTERM)

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        """The machine shuts down: the training may save itself. No request of a person, so the level stays."""
        if self.asked_at is None:
            self.asked_at = time.monotonic()
            self._terminate()


def _oom_kills() -> int:
    """How often the kernel's out-of-memory killer struck in this control group; 0 where that is not told."""
    try:
        group = Path("/proc/self/cgroup").read_text().strip().splitlines()[-1].rpartition("::")[2].lstrip("/")
        for folder in (Path("/sys/fs/cgroup") / group, Path("/sys/fs/cgroup")):
            events = folder / "memory.events"
            if events.exists():
                pairs = (line.split() for line in events.read_text().splitlines())
                return int(dict(pair for pair in pairs if len(pair) == 2).get("oom_kill", 0))  # type: ignore[misc]
        lines = Path("/proc/vmstat").read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
    except (OSError, ValueError, IndexError):
        return 0


def _without_waiting(path: str, flags: int) -> int:
    """A pipe in the place of the log is an error, not a wait for somebody who reads it."""
    return atomic.open_followed(Path(path), flags | os.O_NONBLOCK)


def main(argv: Sequence[str] | None = None) -> int:
    """Watch one attempt from its start to its end."""
    parser = argparse.ArgumentParser(prog="python -m core.jobs.shim", description="Watch one attempt at a run.")
    parser.add_argument("--run", type=Path, required=True, help="the run folder")
    parser.add_argument("--attempt", type=int, required=True)
    parser.add_argument("--lock", type=int, required=True, help="descriptor of the run's lock, taken by the supervisor")
    parser.add_argument("--grace", type=float, required=True, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("--limit", type=float, default=None, help="seconds from now until it saves and ends")
    parser.add_argument("--requeue", action="store_true", help="at the limit it is queued again instead")
    parser.add_argument("--child", type=int, default=None, help="pid of the training, forked by this process")
    parser.add_argument("--adopt", action="store_true", help="the processes live already")
    parser.add_argument("command", nargs="*")
    arguments: Any = parser.parse_args(argv)
    logging.basicConfig(format="%(asctime)s shim: %(message)s", stream=sys.stderr)
    os.set_inheritable(arguments.lock, False)
    confine(arguments.run.parent, sees_others=True)
    shim = Shim(
        arguments.run,
        arguments.attempt,
        grace_s=arguments.grace,
        child=arguments.child,
        adopt=arguments.adopt,
        limit_s=arguments.limit,
        requeues=arguments.requeue,
    )
    shim.run(arguments.command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
