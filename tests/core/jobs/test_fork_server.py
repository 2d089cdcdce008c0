"""Runs that are forked from a process that has imported what they need are runs like any other."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from core.jobs import fork_server, service, supervisor
from core.jobs.fork_server import ForkServer
from core.jobs.queue import JobState
from core.jobs.start_supervisor import announced, is_run_announced
from core.machine import attempts
from core.machine.attempts import living_stat
from core.runs.lock import is_locked, try_lock
from core.runs.run import RunState
from core.runs.store import lock_path
from tests.core.jobs.conftest import ENDLESS, PATIENCE_S, living
from tests.supervisor_thread import SupervisorThread

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
WORKER = [sys.executable, "-m", "tests.core.jobs.standin_worker"]


class Forks(ForkServer):
    """One that imports nothing heavy. modules: what it imports."""

    def __init__(self, root, modules=("core.jobs.worker",)):
        super().__init__(root / "forks.log", modules)

    @property
    def pid(self):
        return self.process.pid if self.process else None


def is_gone(pid):
    return living_stat(pid) is None


def parent_of(pid):
    return int(living_stat(pid)[1])


@pytest.fixture
def serve(box, tmp_path, monkeypatch):
    """Start a supervisor thread whose workers are forked, however long that takes."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for module, name in ((supervisor, "LINGER_S"), (fork_server, "LOADING_S"), (fork_server, "ANSWER_S")):
        monkeypatch.setattr(module, name, PATIENCE_S)

    def start(forks=None):
        forks = forks or Forks(tmp_path)
        box.thread = SupervisorThread(box.store, WORKER, forks)
        return forks

    return start


def test_a_forked_run_has_a_shim_a_token_a_log_and_a_lock_like_any_other(box, serve, monkeypatch):
    monkeypatch.setenv("STANDIN_STEP_S", "0.05")
    run = box.create(steps=ENDLESS)
    forks = serve()
    box.submit(run)
    box.wait_for_step(run, 2)
    server = forks.pid
    (worker,), (shim,) = box.pids(run), box.shim_pids(run)
    assert parent_of(worker) == shim and parent_of(shim) == server
    attempt = box.queue.job(run.id).attempt
    box.wait(lambda: attempts.read_file(run.folder, attempts.ATTEMPT_FILE, attempt).get("worker_pid") == worker)
    words = (Path("/proc") / str(worker) / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    assert words == [word.encode() for word in [*WORKER, "--runs", str(box.store.root), run.id]]
    assert is_locked(lock_path(run))
    os.kill(server, signal.SIGKILL)  # what it forked does not need it
    step = run.status().step
    box.wait_for_step(run, step + 2)
    status = service.stop_run(box.store, run.id, by="ben", engine=box.engine)
    assert (status.state, box.pids(run), box.queue.leases()) == (RunState.STOPPED, [], {})
    assert "stopped by ben" in run.log_path.read_text()


def test_a_unet_is_forked_by_the_server_that_forked_its_vae(box, serve):
    vae = box.create(steps=3)
    unet = box.create("unet", parents=(vae.id,), steps=3)
    forks = serve()
    box.submit(vae, unet)
    box.wait_until_judged(vae, unet)
    assert [run.status().state for run in (vae, unet)] == [RunState.FINISHED] * 2
    assert [living_stat(forks.pid) is not None, (box.root / "forks.log").read_text()] == [True, ""]
    assert {mark["attempt"] for mark in box.marks("start")} == {
        attempts.token_of(run.id, box.queue.job(run.id).attempt) for run in (vae, unet)
    }


@pytest.mark.parametrize(("die", "code"), [("segv", -signal.SIGSEGV), ("exit3", 3)])
def test_how_a_forked_worker_dies_is_known_by_its_shim(box, serve, monkeypatch, die, code):
    monkeypatch.setenv("STANDIN_DIE", die)
    run = box.create(steps=500)
    serve()
    box.submit(run)
    box.wait_until_judged(run)
    end = attempts.read_file(run.folder, attempts.EXIT_FILE, box.queue.job(run.id).attempt)
    assert (run.status().state, end["exit_code"]) == (RunState.FAILED, code)


@pytest.mark.parametrize("modules", [("no.such.module",), ("tests.core.jobs.deaf_module",)])
def test_a_run_starts_without_a_server_that_does_not_come_up(box, serve, tmp_path, monkeypatch, modules):
    run = box.create(steps=3)
    serve(Forks(tmp_path, modules))
    monkeypatch.setattr(fork_server, "LOADING_S", 0.5)
    box.submit(run)
    box.wait_until_judged(run)
    assert run.status().state is RunState.FINISHED


def test_code_of_another_version_is_never_forked(tmp_path, box):
    forks = Forks(tmp_path)
    here = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LAB_DATA": "a"}
    try:
        forks.keep(here, ROOT)
        first = forks.pid
        forks.keep({**here, "LAB_DATA": "b"}, ROOT)  # read when it is needed
        assert forks.pid == first
        for environment, folder in ((here, tmp_path), ({**here, "OMP_NUM_THREADS": "1"}, ROOT)):
            forks.keep(environment, folder)
            assert is_gone(first)
            first = forks.pid
    finally:
        forks.close()
    assert is_gone(first)


def test_the_server_goes_when_nothing_waits_any_more(box, serve, monkeypatch):
    monkeypatch.setenv("STANDIN_STEP_S", "0.05")
    vae = box.create(steps=ENDLESS)
    unet = box.create("unet", parents=(vae.id,), steps=3)
    forks = serve()
    monkeypatch.setattr(supervisor, "LINGER_S", 0.0)
    box.submit(vae, unet)
    box.wait_for_step(vae, 2)
    assert not is_gone(forks.pid)
    service.stop_run(box.store, vae.id, by="ben", engine=box.engine)
    box.wait_until_judged(unet)
    assert unet.status().reason == f"its VAE run {vae.id} was stopped"
    box.wait(lambda: forks.pid is None)


def test_the_order_of_the_queue_holds_while_a_unet_waits_for_its_vae(box, serve):
    vae = box.create(steps=ENDLESS)
    unet, urgent = box.create("unet", parents=(vae.id,), steps=3), box.create(steps=3)
    serve()
    box.submit(vae, unet)
    box.wait_for_step(vae, 1)
    box.submit(urgent, request={"priority": 5})
    box.hurry()
    box.wait_until_judged(vae, unet, urgent)
    assert [mark["run"] for mark in box.marks("start")] == [vae.id, urgent.id, unet.id]
    assert box.queue.job(unet.id).state is JobState.ENDED


def test_processor_time_of_a_forked_run_counts_for_whoever_started_it(box, serve):
    run = box.create(steps=3)
    forks = serve()
    box.submit(run)
    box.wait_until_judged(run)
    server = psutil.Process(forks.pid)
    box.wait(lambda: server.cpu_times().children_user + server.cpu_times().children_system > 0)


@pytest.mark.parametrize("has_forked", [True, False])
def test_a_server_that_falls_silent_has_started_what_lives(tmp_path, monkeypatch, has_forked):
    """Else its run would be started again beside the one that it forked."""
    forks = Forks(tmp_path)
    here = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    token = attempts.token_of(tmp_path.name, 7)
    lock = try_lock(tmp_path / "lock")
    forked = living(**{attempts.TOKEN_VARIABLE: token}) if has_forked else contextlib.nullcontext()
    try:
        forks.keep(here, ROOT)
        while forks.is_loading():
            time.sleep(0.02)
        server = forks.pid
        os.kill(server, signal.SIGSTOP)
        monkeypatch.setattr(fork_server, "ANSWER_S", 0.1)
        with forked:
            asked = {"token": token, "environment": here, "folder": ROOT, "log": tmp_path / "log.txt", "lock": lock}
            assert forks.start([*WORKER, "shim"], WORKER, **asked) is has_forked
        assert is_gone(server)
    finally:
        forks.close()
        lock.release()


def test_a_server_that_waits_for_work_ends_with_its_supervisor(tmp_path):
    """A supervisor in a process of its own, killed while a server waits for work."""
    code = (
        "import os, sys, time; from pathlib import Path; from core.jobs.fork_server import ForkServer;"
        "forks = ForkServer(Path(sys.argv[1]), ('json',)); forks.keep(dict(os.environ), Path.cwd())\n"
        "while forks.is_loading(): time.sleep(0.01)\n"
        "print(forks.is_ready, forks.process.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        is_ready, pid = holder.stdout.readline().split()
        assert is_ready == "True" and not is_gone(int(pid))
        holder.kill()
    deadline = time.monotonic() + 60
    while not is_gone(int(pid)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_pytorch_is_loaded_while_a_run_is_prepared(box, serve):
    forks = serve()
    assert not is_run_announced(box.queue.folder)
    with announced(box.store):
        box.wait(lambda: forks.pid is not None)
        server = forks.pid
        run = box.create(steps=3)
        box.submit(run)
    assert not is_run_announced(box.queue.folder)
    box.wait_until_judged(run)
    assert (forks.pid, run.status().state) == (server, RunState.FINISHED)
