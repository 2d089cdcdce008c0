"""A process that has imported what trainings need and forks them: a run then starts within milliseconds.

PyTorch, diffusers and Accelerate take four to five seconds of a core to import. The supervisor has one such process
loaded while somebody prepares a run, and keeps it while runs wait: the U-Net of `train all` begins when its VAE has
ended. It computes nothing, holds no slot, no lock and no GPU, and ends with its supervisor. What it forks has the shim,
token, log, environment and name of a run that was started anew; memory is shared until one of them writes to it.

`python -m core.jobs.fork_server FD ROOM MODULE…`: its end of a socket pair, blanks, and what it imports.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from core import atomic
from core.jobs.worker import end_with
from core.machine import attempts
from core.machine.outside import outside
from core.runs.lock import FileLock

logger = logging.getLogger(__name__)

PRELOADED = ("core.training.train_vae", "core.training.train_unet")
LOADING_S = 60.0  # a server that is not ready by then is not waited for
ANSWER_S = 5.0
AGAIN_S = 60.0  # after one that ended by itself
_ROOM, _TITLE_ROOM = 16_384, 4_096  # bytes that /proc can show of a worker: more environment than ours, and its name
_LONGEST = 200_000  # bytes of a request
_COMMAND_LINE, _ENVIRONMENT = 45, 47  # where /proc/PID/stat says, behind the name, where they begin
_PER_RUN = ("CUDA_VISIBLE_DEVICES", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT")


class _Kind(NamedTuple):
    """What only an exec can change: the folder whose code was imported, and variables that libraries read then."""

    folder: Path
    variables: Mapping[str, str]


def _kind(environment: Mapping[str, str], folder: Path) -> _Kind:
    names = (name for name in environment if not name.startswith("LAB_") and name not in _PER_RUN)
    return _Kind(folder, {name: environment[name] for name in names})


class Request(NamedTuple):
    """A run to fork. environment: the worker's, with its token."""

    shim: list[str]
    worker: list[str]
    environment: dict[str, str]
    folder: str
    log: str


class ForkServer:
    """The supervisor's hold on it. Whatever goes wrong, a run can be started without. modules: what it imports."""

    def __init__(self, log_path: Path, modules: Sequence[str] = PRELOADED) -> None:
        self.log_path, self.modules = log_path, tuple(modules)
        self.process: subprocess.Popen[bytes] | None = None
        self.line: socket.socket | None = None
        self.kind: _Kind | None = None
        self.size = 0
        self.is_ready = False
        self.began_at = float("-inf")

    def keep(self, environment: Mapping[str, str], folder: Path) -> None:
        """Have one that imports from this folder, for workers with this environment; one of another kind ends."""
        kind, now = _kind(environment, folder), time.monotonic()
        if kind == self.kind and (self._lives() or now - self.began_at < AGAIN_S):
            return
        self.close()
        self.kind, self.began_at, self.is_ready = kind, now, False
        room = {**environment, attempts.TOKEN_VARIABLE: "-" * _ROOM}  # the token of no run
        self.size = len(_block(_assignments(room)))
        room_for_title = " " * _TITLE_ROOM
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST)
        try:
            with theirs, self.log_path.open("ab") as log:
                self.process = outside(
                    subprocess.Popen,
                    [
                        sys.executable,
                        "-m",
                        "core.jobs.fork_server",
                        str(theirs.fileno()),
                        room_for_title,
                        *self.modules,
                    ],
                    cwd=folder,
                    env=room,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=[theirs.fileno()],
                )
        except OSError as error:
            logger.error("nothing is loaded ahead: %s", error)

    def is_loading(self) -> bool:
        """True while it is worth waiting for."""
        if self.line is None or self.is_ready or not self._lives():
            return False
        try:
            self.is_ready = bool(self.line.recv(8, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return time.monotonic() - self.began_at < LOADING_S
        except OSError:
            pass
        return False

    def start(
        self,
        shim: Sequence[str],
        worker: Sequence[str],
        *,
        token: str,
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        lock: FileLock,
    ) -> bool:
        """Fork a shim and its worker. False: they are not started, and the lock is still the caller's alone.

        shim, worker: their command lines; a worker is a module whose `main` takes its arguments. token: of the attempt.
        log: of the worker. lock: the run's, for the shim.
        """
        if self.is_loading() or not self.is_ready or self.line is None or not self._lives():
            return False
        request = Request(
            list(shim), list(worker), {**environment, attempts.TOKEN_VARIABLE: token}, str(folder), str(log)
        )
        is_small = len(_block(_assignments(request.environment))) <= self.size
        if self.kind != _kind(environment, folder) or not is_small or request.worker[1] != "-m":
            return False
        try:
            with self.log_path.open("ab") as own:
                self.line.settimeout(ANSWER_S)
                socket.send_fds(self.line, [json.dumps(request._asdict()).encode()], [lock.descriptor, own.fileno()])
                if self.line.recv(8):
                    return True
        except OSError as error:
            logger.error("the process that forks runs gave no answer: %s", error)
        self.close(kills=True)
        return bool(attempts.living_pids(token))  # what gave no answer may have forked before

    def close(self, *, kills: bool = False) -> None:
        """End it; what it has forked lives on."""
        if self.line is not None:
            self.line.close()
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL if kills else signal.SIGTERM)
            self.process.wait()
        self.process = self.line = self.kind = None
        self.is_ready = False

    def _lives(self) -> bool:
        return self.process is not None and self.process.poll() is None


def _block(texts: Iterable[str]) -> bytes:
    return b"".join(text.encode(errors="surrogateescape") + b"\0" for text in texts)


def _assignments(environment: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in environment.items()]


def _show(texts: Iterable[str], field: int) -> None:
    """Let /proc show these texts as this process's environment or command line, as after an exec."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = map(int, fields[field : field + 2])
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(_block(texts)[: end - start].ljust(end - start, b"\0"))


def serve(line: socket.socket) -> list[str] | None:
    """Fork what is asked for. Returns the worker's command line in each worker, and None when nobody asks any more."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(line, _LONGEST, 2, socket.MSG_CMSG_CLOEXEC)
        if not message:
            return None
        if os.fork() == 0:
            line.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            request = Request(**json.loads(message))
            _become_shim(request, *descriptors)
            return request.worker
        for descriptor in descriptors:
            os.close(descriptor)
        line.send(b"forked")


def _become_shim(request: Request, lock: int, shim_log: int) -> None:
    """This process execs the shim, its child returns as the worker. Where no log opens, the shim starts the worker."""
    os.setsid()
    os.chdir(request.folder)
    _stream_to(shim_log)
    child: list[str] = []
    with contextlib.suppress(OSError):
        log = atomic.open_followed(Path(request.log), os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
        pid = os.fork()
        if pid == 0:
            os.close(lock)
            os.setsid()
            _stream_to(log)
            _show(_assignments(request.environment), _ENVIRONMENT)
            _show(request.worker, _COMMAND_LINE)
            os.environ.clear()
            os.environ.update(request.environment)
            return
        child = ["--child", str(pid)]
    os.set_inheritable(lock, True)
    environment = {name: value for name, value in request.environment.items() if name != attempts.TOKEN_VARIABLE}
    os.execve(sys.executable, [*request.shim, "--lock", str(lock), *child, "--", *request.worker], environment)  # noqa: S606


def _reap(number: int, frame: FrameType | None) -> None:
    """Shims that ended leave no zombies. Were the signal ignored, their processor time would count for nobody."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _stream_to(log: int) -> None:
    """Output goes to that file; there is no input."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, log, log)):
        os.dup2(descriptor, number)
    os.close(nothing)


def main(argv: Sequence[str]) -> int:
    """Load, say so, and fork. In a worker: do its work."""
    line = socket.socket(fileno=int(argv[0]))
    line.set_inheritable(False)
    for name in argv[2:]:
        importlib.import_module(name)
    _show([sys.executable, "-m", "core.jobs.fork_server"], _COMMAND_LINE)  # or it fails here, where that costs nothing
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, _reap)
    try:
        line.send(b"ready")
        worker = serve(line)
    except ConnectionError:  # the supervisor is gone
        return 0
    if worker is None:
        return 0
    _, _, module, *arguments = worker
    return int(importlib.import_module(module).main(arguments))


if __name__ == "__main__":
    end_with(main(sys.argv[1:]))
