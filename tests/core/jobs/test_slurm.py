"""The engine of a cluster on a real Slurm: two pretended nodes with two pretended GPUs each, real trainings."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.config.load import settings_from
from core.errors import LabError
from core.jobs import service
from core.jobs.engines.choose import observed_status
from core.jobs.queue_view import queue_view, supervisor_state
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests import slurm_sandbox
from tests.models import tiny_settings
from tests.slurm_sandbox import Sandbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(slurm_sandbox.lacking()), reason=slurm_sandbox.lacking() or "never"),
]
PATIENCE_S = 240.0
REVOKED_S = 5.0  # a credential lives for two seconds
NOT_RUN = 9  # exit code of a process that could not even ask
LONG = 100_000  # steps of a run that must not end before a test has acted


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    root = Path(tempfile.mkdtemp(prefix="lab-slurm-"))  # short: Slurm's sockets lie in it
    root.chmod(0o755)
    found = Sandbox(root / "s")
    try:
        found.start()
        yield found
    finally:
        found.close()
        shutil.rmtree(root, ignore_errors=True)


class Lab:
    """A lab whose runs are jobs of the sandbox."""

    def __init__(self, store: RunStore, sandbox: Sandbox) -> None:
        self.store, self.sandbox = store, sandbox
        self.held: dict[str, float] = {}  # job that Slurm holds back → since when, by monotonic time
        self.hurried_at = 0.0
        self.is_alone = False  # its controller was killed

    def begin(self, kind: str = "vae", steps: int = LONG, device: str = "cpu") -> list[Run]:
        values = tiny_settings().model_dump(mode="json")
        values["train_vae"] |= {"steps": steps}
        values["machine"] |= {"device": device}
        return service.start_training(kind, settings_from(values), store=self.store, owner="ana")

    def wait(self, condition: Callable[[], object], words: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{words}\n{self.report()}"
            self.hurry()
            time.sleep(0.1)

    def hurry(self) -> None:
        """Start what was queued again soon: Slurm holds it back for two minutes.

        A node that gets the same job within moments of its last end takes it for the one that was revoked, and ends it.
        """
        if self.is_alone or time.monotonic() - self.hurried_at < 1.0:
            return
        self.hurried_at = time.monotonic()
        with contextlib.suppress(subprocess.SubprocessError):
            lines = self.sandbox.call("squeue", "--noheader", "--format=%i %r").splitlines()
            held = {line.split()[0] for line in lines if line.endswith("BeginTime")}
            now = time.monotonic()
            self.held = {job: self.held.get(job, now) for job in held}
            for job, since in self.held.items():
                if now - since >= REVOKED_S:
                    self.sandbox.call("scontrol", "update", f"JobId={job}", "StartTime=now")

    def wait_for(self, run: Run, *states: RunState) -> None:
        self.wait(lambda: observed_status(run).state in states, f"{run.id} never was {states}")

    def wait_for_step(self, run: Run, step: int) -> None:
        self.wait(lambda: run.status().step >= step, f"{run.id} never was at step {step}")

    def job_of(self, run: Run) -> str:
        (found,) = (line.split()[0] for line in self.squeue() if line.split()[1] == run.id)
        return found

    def squeue(self) -> list[str]:
        return self.sandbox.call("squeue", "--noheader", "--format=%i %k %T").splitlines()

    def report(self) -> str:
        lines = [f"{run.id} {run.status()} {run.events()}" for run in self.store.list()]
        for run in self.store.list():
            with contextlib.suppress(OSError):
                lines.append(run.log_path.read_text()[-1500:])
        with contextlib.suppress(Exception):
            lines += self.squeue()
        return "\n".join([*lines, self.sandbox.log()])


@pytest.fixture
def lab(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    (tmp_path / "config.yaml").write_text("site:\n  engine: slurm\n  slurm: {save_ahead_s: 10}\n")
    monkeypatch.setenv("LAB_HOME", str(tmp_path))
    for name in ("runs", "cache"):
        monkeypatch.setenv(f"LAB_{name.upper()}", str(tmp_path / name))
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, sandbox.environment[name])
    found = Lab(RunStore(tmp_path / "runs"), sandbox)
    yield found
    with contextlib.suppress(Exception):
        sandbox.call("scancel", "--signal=KILL", "--full", "--name=latent-diffusion-lab")
        sandbox.call("scancel", "--name=latent-diffusion-lab")
    found.wait(lambda: not found.squeue(), "jobs are left")


def weights(run: Run) -> bytes:
    newest = max((run.folder / "checkpoints").glob("step-*"))
    return (newest / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()


def number_of(run: Run, event: str) -> int:
    return sum(each["event"] == event for each in run.events())


def test_a_run_whose_time_is_over_three_times_is_bit_equal_to_one_that_was_not_interrupted(lab: Lab) -> None:
    whole, cut = lab.begin(steps=160)[0], lab.begin(steps=160)[0]
    for turn in range(3):
        lab.wait(lambda turn=turn: number_of(cut, "resumed") == turn, "it does not go on")
        before, queued = cut.status().step, number_of(cut, "queued")
        lab.wait_for_step(cut, before + 3)  # its job works: Slurm would cancel one that waits
        lab.sandbox.call("scancel", "--batch", "--signal=USR1", lab.job_of(cut))  # as Slurm does ahead of the limit
        lab.wait(lambda queued=queued: number_of(cut, "queued") > queued, "not put back")
    lab.wait_for(cut, RunState.FINISHED, RunState.FAILED)
    lab.wait_for(whole, RunState.FINISHED, RunState.FAILED)
    assert cut.status().step == whole.status().step == 160
    assert number_of(cut, "resumed") == 3
    assert weights(cut) == weights(whole)


def test_pause_keeps_the_job_and_resume_and_stop_do_what_they_say(lab: Lab) -> None:
    (run,) = lab.begin()
    lab.wait_for_step(run, 3)
    job = lab.job_of(run)
    assert service.pause_run(lab.store, run.id, by="ana", wait=True).state is RunState.STOPPED
    lab.wait(lambda: [entry.state for entry in queue_view(lab.store)] == ["paused"], "it does not wait on hold")
    service.resume_run(lab.store, run.id, by="ana")
    lab.wait(lambda: observed_status(run).state is RunState.RUNNING, "it does not go on")
    assert lab.job_of(run) == job
    assert service.stop_run(lab.store, run.id, by="ana").reason.startswith("stopped by ana at step")
    service.delete_run(lab.store, run.id, by="ana")
    assert lab.store.list() == []


def test_killed_daemons_cost_nothing_and_screens_say_when_the_controller_is_away(lab: Lab) -> None:
    (run,) = lab.begin()
    lab.wait_for_step(run, 3)
    node = run.status().device
    lab.is_alone = True
    lab.sandbox.kill("slurmctld")
    step = run.status().step
    lab.wait_for_step(run, step + 3)
    lab.wait(lambda: "does not answer" in supervisor_state(lab.store).problem, "nobody says so")
    before = [each.id for each in lab.store.list()]
    with pytest.raises(LabError, match="Slurm"):
        lab.begin()
    assert [each.id for each in lab.store.list()] == before and observed_status(run).state.is_active, node
    lab.sandbox.kill("slurmd.n1")
    lab.sandbox.start_controller()
    lab.is_alone = False
    lab.sandbox.start_node("n1")
    lab.wait(lambda: not supervisor_state(lab.store).problem, "it does not answer again")
    step = run.status().step
    lab.wait_for_step(run, step + 3)
    assert service.stop_run(lab.store, run.id, by="ana").state is RunState.STOPPED
    assert sum(event["event"] in ("started", "resumed") for event in run.events()) == 1


def test_a_node_that_goes_down_gives_its_run_to_another(lab: Lab) -> None:
    (run,) = lab.begin()
    lab.wait_for_step(run, 30)
    host = next(entry.slots[0] for entry in queue_view(lab.store)).removeprefix("node ").removesuffix(":0")
    lab.sandbox.call("scontrol", "update", f"NodeName={host}", "State=DOWN", "Reason=test")
    lab.wait(lambda: any(event["event"] == "resumed" for event in run.events()), "it does not go on elsewhere")
    lab.wait(lambda: observed_status(run).state is RunState.RUNNING, "it does not train")
    with contextlib.suppress(subprocess.CalledProcessError):  # it may have come back by itself
        lab.sandbox.call("scontrol", "update", f"NodeName={host}", "State=RESUME")
    service.force_stop(lab.store, run.id, by="ana")


def test_another_users_cancel_is_refused_in_slurms_words(lab: Lab) -> None:
    (run,) = lab.begin()
    lab.wait_for_step(run, 1)
    job = lab.job_of(run)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setgid(65534)
            os.setuid(65534)
            os.execvpe("scancel", ["scancel", job], lab.sandbox.environment)
        os._exit(NOT_RUN)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) not in (0, NOT_RUN)
    assert observed_status(run).state.is_active
    service.force_stop(lab.store, run.id, by="ana")
    assert run.status().reason.startswith("killed by ana")


def test_six_runs_share_four_gpus_without_a_lock_or_a_database(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("a lock or a database in the runs folder")

    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        target = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if target.startswith(str(lab.store.root)):
            refuse()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(sqlite3, "connect", refuse)
    runs = [lab.begin(steps=4, device="auto")[0] for _ in range(6)]
    most = 0

    def all_ended() -> bool:
        nonlocal most
        most = max(most, sum(entry.place == 0 for entry in queue_view(lab.store)))
        return all(not observed_status(run).state.is_active for run in runs)

    lab.wait(all_ended, "they do not end")
    assert [run.status().state for run in runs] == [RunState.FINISHED] * 6
    assert most <= 4
    service.describe_run(lab.store, runs[0].id, by="ana", notes="a note")
    service.delete_run(lab.store, runs[0].id, by="ana")
    assert not [path for path in lab.store.root.rglob("*") if path.suffix == ".db" or path.name == "lock"]
