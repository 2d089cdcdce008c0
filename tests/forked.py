"""Python processes in a few milliseconds instead of the seconds that PyTorch takes to import: forked from one server
per session that has imported it and has computed nothing.

`run(words, …)` stands in for `subprocess.run([sys.executable, *words], …)`, `Process(words, …)` for `subprocess.Popen`.
`command(words)` is a command line for whoever starts a program itself: a light client that passes its arguments,
environment, directory, streams and signals to a process of the server, and ends as that one ends. Starting by exec
stays the subject of some tests.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

SOCKET = "LAB_TESTS_FORK"  # the variable that tells clients where the server listens
ROOT = Path(__file__).resolve().parents[1]
ROOM = 32_768  # bytes of environment that a forked process can show in /proc
LONGEST = 200_000  # bytes of one message
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
PRELOADED = (
    "core.training.train_vae",
    "core.training.train_unet",
    "core.evaluation.evaluate",
    "core.evaluation.vae_ceiling",
    "core.evaluation.timestep_loss",
    "core.comparison.comparison",
    "core.model_folders.model_folder",
    "core.jobs.worker",
    "core.__main__",
)


def command(*words: str) -> list[str]:
    """The command line of a client: `command("-m", "core", "runs")`. The server must run: see `serving`."""
    return [sys.executable, "-S", "-E", str(Path(__file__).resolve()), *words]


def run(
    *words: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT, timeout_s: float = 600
) -> subprocess.CompletedProcess[str]:
    """`python *words` to its end, from a forked process; text streams are captured."""
    import tempfile

    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors, open(os.devnull, "rb") as nothing:
        streams = [file.fileno() for file in (nothing, output, errors)]
        code = Process(*words, env=os.environ if env is None else env, cwd=cwd, streams=streams).wait(timeout_s)
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(list(words), code, *texts)


class Process:
    """A forked `python *words`; it is killed when nobody here knows of it any more.

    streams: descriptors of its input, output and errors. imports: modules that the server imports first, unless it has.
    """

    def __init__(
        self, *words: str, env: Mapping[str, str], cwd: Path, streams: Sequence[int], imports: Sequence[str] = ()
    ) -> None:
        self.line = _asked(words, env, cwd, streams, imports)
        self.pid = _started(self.line)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or minus the signal, once it has ended."""
        has_ended = self.returncode is None and bool(select.select([self.line], [], [], 0)[0])
        return self.wait() if has_ended else self.returncode

    def wait(self, timeout_s: float | None = None) -> int:
        """The same, when it has ended. Raises TimeoutError."""
        if self.returncode is None:
            self.line.settimeout(timeout_s)
            self.returncode = _ended(self.line)
            self.line.close()
        return self.returncode

    def kill(self) -> None:
        """End it at once."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


@contextlib.contextmanager
def serving(folder: Path, preloaded: Sequence[str] = PRELOADED) -> Iterator[None]:
    """The server of this session's folder runs as long as one of its workers is in here; whoever comes first says
    what it imports."""
    import fcntl

    path = folder / "fork.sock"
    with (folder / "fork.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            line.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            _start_server(path, preloaded)
            line.connect(str(path))
        line.send(b"hold")
        assert line.recv(8) == b"held"
    os.environ[SOCKET] = str(path)
    with line:
        yield
    del os.environ[SOCKET]


def _start_server(path: Path, preloaded: Sequence[str]) -> None:
    """Returns once it listens; it logs beside its socket."""
    ready, theirs = os.pipe()
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    threads["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    with path.with_suffix(".log").open("w") as log, open(ready, "rb") as answer:
        subprocess.Popen(
            [sys.executable, "-m", "tests.forked", "--serve", str(path), str(theirs), *preloaded],
            cwd=ROOT,
            env={**os.environ, **threads, "LAB_TESTS_ROOM": "x" * ROOM},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(theirs,),
            start_new_session=True,
        )
        os.close(theirs)
        assert answer.read(5) == b"ready", path.with_suffix(".log").read_text()


def _asked(
    words: Sequence[str],
    env: Mapping[str, str],
    cwd: Path | str,
    streams: Sequence[int],
    imports: Sequence[str] = (),
) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
    line.connect(os.environ[SOCKET])
    request = {"words": list(words), "env": dict(env), "cwd": str(cwd), "imports": list(imports)}
    socket.send_fds(line, [json.dumps(request).encode()], list(streams))
    return line


def _started(line: socket.socket) -> int:
    return int(line.recv(64))


def _ended(line: socket.socket) -> int:
    """As subprocess says it: the exit code, or minus the signal."""
    return int(line.recv(64) or -signal.SIGKILL)


def client() -> None:
    """What `command` starts: everything that happens to it happens to the forked process, and the other way round."""
    with _asked(sys.argv[1:], os.environ, Path.cwd(), (0, 1, 2)) as line:
        _started(line)
        show_environment({})  # the forked process carries what tells whose it is
        for number in PASSED_ON:
            signal.signal(number, lambda received, _: line.send(str(int(received)).encode()))
        code = _ended(line)
    if code < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to take away
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def show_environment(environment: Mapping[str, str]) -> None:
    """Let /proc/PID/environ of this process be that, as it would be after an exec."""
    start, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[47:49])
    block = b"".join(f"{name}={value}\0".encode(errors="surrogateescape") for name, value in environment.items())
    assert len(block) <= end - start, "there is no room for the environment"
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(block.ljust(end - start, b"\0"))


class Server:
    """Forks a process for each request, passes signals on, and tells how each ended."""

    def __init__(self, path: str, ready: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(path)
        self.listener.listen(64)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.wake, told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(told)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(self.wake, selectors.EVENT_READ)
        self.holders: set[socket.socket] = set()
        self.children: dict[socket.socket, int] = {}
        os.write(ready, b"ready")
        os.close(ready)

    def serve(self) -> list[str] | None:
        """In a forked process: its words. In the server: None, when nobody holds it any more."""
        while True:
            events = self.selector.select(None if self.holders else 60)
            held = bool(self.holders)
            for key, _ in events:
                if key.fileobj is self.listener:
                    line, _ = self.listener.accept()
                    self.selector.register(line, selectors.EVENT_READ)
                elif key.fileobj == self.wake:
                    os.read(self.wake, 4096)
                    self.reap()
                elif (words := self.hear(key.fileobj)) is not None:  # type: ignore[arg-type]
                    return words
            if not self.holders and (held or not events):
                for pid in self.children.values():
                    os.kill(pid, signal.SIGKILL)
                return None

    def hear(self, line: socket.socket) -> list[str] | None:
        try:
            message, streams, _, _ = socket.recv_fds(line, LONGEST, 3)
        except ConnectionError:
            message, streams = b"", []
        if line in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.children[line], int(message or int(signal.SIGKILL)))
        if message == b"hold":
            self.holders.add(line)
            line.send(b"held")
        elif not message:
            self.holders.discard(line)
            self.selector.unregister(line)
            if line not in self.children:
                line.close()
        elif line not in self.children:
            request = json.loads(message)
            import_all(request["imports"])
            pid = os.fork()
            if pid == 0:
                self.become(request, streams, line)
                return request["words"]
            self.children[line] = pid
            for descriptor in streams:
                os.close(descriptor)
        return None

    def reap(self) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            line = next(line for line, child in self.children.items() if child == pid)
            del self.children[line]
            with contextlib.suppress(OSError):
                line.send(str(os.waitstatus_to_exitcode(status)).encode())
            with contextlib.suppress(KeyError):  # its client went first
                self.selector.unregister(line)
            line.close()

    def become(self, request: dict[str, Any], streams: list[int], line: socket.socket) -> None:
        """What a process looks like that was started by exec."""
        import random

        import numpy as np

        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.selector.close()
        os.close(self.wake)
        self.listener.close()
        for other in {*self.holders, *self.children} - {line}:
            other.close()
        os.setsid()
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(request["cwd"])
        show_environment(request["env"])
        os.environ.clear()
        os.environ.update(request["env"])
        random.seed()
        np.random.seed()
        line.send(str(os.getpid()).encode())
        line.close()


def main(path: str, ready: str, *preloaded: str) -> None:
    """The server; a process that is forked from it runs its program here."""
    import_all(preloaded)
    words = Server(path, int(ready)).serve()
    if words is not None:
        end_as(lambda: begin(words))


def import_all(names: Sequence[str]) -> None:
    """What the processes forked from now on need not import."""
    import gc
    import importlib

    if all(name in sys.modules for name in names):
        return
    for name in names:
        importlib.import_module(name)
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a process with threads must not be forked"
    gc.collect()
    gc.freeze()


def end_as(program: Callable[[], None]) -> NoReturn:
    """Run it and end as Python would, but for taking apart all that was imported, which alone takes two seconds."""
    code = 0
    try:
        program()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if code and not isinstance(ended.code, int):
            print(ended.code, file=sys.stderr)
    except BaseException as error:
        traceback.print_exc()
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def begin(words: list[str]) -> None:
    """What `python *words` does."""
    if words[0] == "-c":
        sys.argv, program = ["-c", *words[2:]], words[1]
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    elif words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).resolve().parent))
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        main(*sys.argv[2:])
    else:
        client()
