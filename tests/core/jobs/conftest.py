import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.config.load import settings_from
from core.jobs.engines.choose import observed_status
from core.jobs.engines.local import LocalEngine
from core.jobs.queue import JobState, Queue
from core.jobs.start_supervisor import start_supervisor
from core.machine import attempts
from core.runs.store import RunStore
from tests import endings, forked
from tests.supervisor_thread import SupervisorThread

STANDIN = forked.command(str(Path(__file__).with_name("standin_worker.py")))

PATIENCE_S = 180.0  # for what happens within a second on a quiet machine
ENDLESS = 100_000  # steps of a run that must not end before the test has acted, however slow the machine: half an hour


@contextlib.contextmanager
def living(**environment):
    """A process with these variables, which `with` ends."""
    child = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        child.stdout.read(1)
        try:
            yield child
        finally:
            child.kill()


class Box:
    """A runs folder with a queue and the stand-in worker; whatever it started is killed at the end.

    in_process: its supervisor is a thread; else a process as in life, for tests about its death. begin: called before
    the first run is submitted.
    """

    def __init__(self, root, *, in_process, begin):
        self.root = root
        self.store = RunStore(root / "runs")
        self.queue = Queue(self.store.root)
        self.engine = LocalEngine(self.store, worker=STANDIN)
        self.log, self.hurried = root / "standin.jsonl", root / "hurry"
        self.in_process, self.begin = in_process, begin
        self.thread = None

    def settings(self, steps=10, **machine):
        return settings_from(
            {
                "train_vae": {"steps": steps},
                "train_unet": {"steps": steps},
                "machine": {"device": "cpu", "stop_grace_s": PATIENCE_S, **machine},
            }
        )

    def create(self, kind="vae", parents=(), **settings):
        return self.store.create(kind, self.settings(**settings), parents=parents, owner="ana")

    def submit(self, *runs, **spec):
        if self.in_process and self.thread is None:
            self.begin()
            self.thread = SupervisorThread(self.store, self.engine.worker)
        self.engine.submit(runs, **spec)

    def supervise(self):
        assert not self.in_process
        start_supervisor(self.store, STANDIN)

    def supervisor_pid(self):
        return endings.supervisor_pid(self.store)

    def kill_supervisor(self, number=signal.SIGKILL):
        return endings.kill_supervisor(self.store, number)

    def wait(self, condition, timeout_s=PATIENCE_S, words="it never happened"):
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"{words}\n{self.report()}"
            time.sleep(0.05)

    def wait_for(self, run, *states, timeout_s=PATIENCE_S):
        self.wait(lambda: observed_status(run).state in states, timeout_s, f"{run.id} never was {states}")
        return observed_status(run)

    def wait_until_judged(self, *runs, timeout_s=PATIENCE_S):
        """Until the supervisor has ended the jobs."""

        def over(run):
            job = self.queue.job(run.id)
            return job is not None and job.state in (JobState.ENDED, JobState.PAUSED)

        self.wait(lambda: all(over(run) for run in runs), timeout_s, "not ended")
        return [run.status() for run in runs]

    def wait_for_step(self, run, step, timeout_s=PATIENCE_S):
        self.wait(lambda: run.status().step >= step, timeout_s, f"never at step {step}")

    def pids(self, run):
        job = self.queue.job(run.id)
        return attempts.living_pids(attempts.token_of(run.id, job.attempt)) if job else []

    def shim_pids(self, run):
        return endings.shim_pids(run.folder)

    def hurry(self):
        """The next step of every run is its last, from now on: what is left of them is nothing to the test."""
        self.hurried.touch()

    def marks(self, word):
        try:
            lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        except OSError:
            return []
        return [line for line in lines if line["word"] == word]

    def report(self):
        lines = [f"{job}" for job in self.queue.jobs(*JobState)]
        lines += [f"{run.id} {run.status()}" for run in self.store.list()]
        with contextlib.suppress(OSError):
            lines.append((self.queue.folder / "supervisor.log").read_text()[-4000:])
        return "\n".join(lines)

    def close(self):
        shims = [] if self.thread is None else self.thread.close()
        endings.end_lab(self.store)
        for shim in shims:
            shim.wait()
        self.queue.close()


@pytest.fixture
def box(tmp_path, monkeypatch, request):
    """A box whose supervisor is a thread of this process; it starts with the first run that is submitted."""
    yield from opened(tmp_path, monkeypatch, in_process=True, begin=lambda: request.getfixturevalue("forks"))


@pytest.fixture
def real_box(tmp_path, monkeypatch, forks):
    """A box whose supervisor is a process, as in life."""
    yield from opened(tmp_path, monkeypatch, in_process=False)


def opened(folder, monkeypatch, *, in_process, begin=lambda: None):
    monkeypatch.setenv("LAB_DATA", str(folder))
    monkeypatch.setenv("LAB_CACHE", str(folder / "cache"))
    found = Box(folder, in_process=in_process, begin=begin)
    monkeypatch.setenv("STANDIN_LOG", str(found.log))
    monkeypatch.setenv("STANDIN_HURRY", str(found.hurried))
    yield found
    found.close()


@pytest.fixture
def recorded_gpus(tmp_path, monkeypatch):
    """Two pretended GPUs; call it again with processes to change what NVML says."""
    path = tmp_path / "nvml.json"

    def write(count=2, *, pids="own", pytorch="", **changes):
        gpus = [
            {
                "uuid": f"GPU-{index}{'0' * 7}-aaaa",
                "name": "NVIDIA H200",
                "memory_total": 150_000_000_000,
                "memory_used": 600_000_000,
                "memory_reserved": 600_000_000,
                "utilization": 0,
                "temperature": 30,
                "power": 75_000,
                "processes": [],
                **changes.get(f"gpu{index}", {}),
            }
            for index in range(count)
        ]
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"gpus": gpus, "pids": pids, "pytorch": pytorch}))
        temporary.replace(path)
        return gpus

    write()
    monkeypatch.setenv("LAB_NVML_RECORDING", str(path))
    return write
