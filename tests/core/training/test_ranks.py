"""One training in two processes, through queue, shim and torchrun, on the CPU: equal to one, stopped whole."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.config.load import load_config
from core.config.schema import Settings
from core.jobs import service
from core.jobs.engines.local import LocalEngine
from core.jobs.queue import JobState
from core.machine import attempts
from core.runs.listing import list_checkpoints
from core.runs.metrics import read_metrics
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests import forked
from tests.endings import end_lab
from tests.models import TINY, Lab

pytestmark = pytest.mark.slow


RANK = forked.command("-m", "core.jobs.worker")
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python", *RANK]


class Box:
    def __init__(self, root: Path, worker: list[str] | None) -> None:
        self.root = root
        self.store = RunStore(root / "runs")
        self.engine = LocalEngine(self.store, worker)

    def settings(self, **changes: object) -> Settings:
        return load_config(overrides={**TINY, **changes})

    def create(self, kind: str, parent: Run | None = None, **changes: object) -> Run:
        parents = (parent.id,) if parent else ()
        return self.store.create(kind, self.settings(**changes), parents=parents)  # type: ignore[arg-type]

    def submit(self, *runs: Run) -> None:
        self.engine.submit(runs)

    def wait(self, condition, words: str, seconds: float = 300.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, words
            time.sleep(0.05)

    def wait_until_over(self, *runs: Run) -> None:
        def over(run: Run) -> bool:
            job = self.engine.queue.job(run.id)
            return job is not None and job.state is JobState.ENDED

        self.wait(lambda: all(over(run) for run in runs), "not ended")

    def pids(self, run: Run) -> list[int]:
        job = self.engine.queue.job(run.id)
        return attempts.living_pids(attempts.token_of(run.id, job.attempt)) if job else []


@pytest.fixture
def box(tmp_path: Path, forks: None) -> Iterator[Box]:
    """Launcher and ranks are forked from a process that has PyTorch."""
    yield from opened(tmp_path, forked.command(*TORCHRUN))


@pytest.fixture
def real_box(tmp_path: Path) -> Iterator[Box]:
    """Launcher and ranks are started by exec, as in life."""
    yield from opened(tmp_path, None)


def opened(folder: Path, worker: list[str] | None) -> Iterator[Box]:
    found = Box(folder, worker)
    yield found
    end_lab(found.store)


def test_two_processes_learn_what_one_learns(box: Box) -> None:
    """VAE and U-Net: the same losses up to rounding, the same lines, one writer."""
    exact = {"machine.mixed_precision": "no"}
    alone = Lab(box.root)
    vae = alone.create("vae", box.settings(**exact))
    alone.train(vae)
    unet = alone.create("unet", box.settings(**exact), vae)
    alone.train(unet)
    vae_of_two = box.create("vae", **{"machine.num_processes": 2, **exact})
    unet_of_two = box.create("unet", vae_of_two, **{"machine.num_processes": 2, **exact})
    box.submit(vae_of_two, unet_of_two)
    box.wait_until_over(vae_of_two, unet_of_two)
    for one, two in ((vae, vae_of_two), (unet, unet_of_two)):
        assert two.status().state is RunState.FINISHED, two.status().reason
        expected, together = read_metrics(one.metrics_path), read_metrics(two.metrics_path)
        assert together["step"].tolist() == expected["step"].tolist()
        np.testing.assert_allclose(together["loss"], expected["loss"], rtol=2e-3)
        np.testing.assert_allclose(together["val_loss"], expected["val_loss"], rtol=5e-3)
        assert [info.step for info in list_checkpoints(two)] == [info.step for info in list_checkpoints(one)]
        box.wait(lambda run=two: says_released(run), f"{two.id} was never said to be released")
        told = [event["event"] for event in two.events()]
        assert len(told) == len(set(told)), "a second process wrote too"


def test_two_processes_stop_at_one_step_and_leave_none_behind(real_box: Box) -> None:
    run = real_box.create("vae", **{"machine.num_processes": 2, "train_vae.steps": 100_000, "machine.stop_grace_s": 30})
    real_box.submit(run)
    real_box.wait(lambda: run.status().step > 3, f"never trained: {run.status()}")
    assert len(real_box.pids(run)) >= 3, "torchrun and two ranks"
    status = service.stop_run(real_box.store, run.id, by="ana", engine=real_box.engine)
    assert status.state is RunState.STOPPED
    assert status.reason.startswith(f"stopped by ana at step {status.step:,}")
    assert list_checkpoints(run)[-1].step == status.step
    assert real_box.pids(run) == []


def test_a_killed_rank_takes_the_others_along_and_the_run_goes_on(box: Box) -> None:
    run = box.create("vae", **{"machine.num_processes": 2, "train_vae.steps": 150, "logging.save_every_steps": 10})
    box.submit(run)
    box.wait(lambda: run.status().step > 20, f"never trained: {run.status()}")
    main = run.status().process
    assert main is not None
    other = next(pid for pid in box.pids(run) if pid != main.pid and rank_of(pid) == "1")
    with contextlib.suppress(ProcessLookupError):
        os.kill(other, signal.SIGKILL)
    box.wait_until_over(run)
    assert run.status().state is RunState.FINISHED, run.status().reason
    told = [event for event in run.events() if event["event"] in ("queued", "resumed")]
    assert [event["event"] for event in told] == ["queued", "resumed"]
    assert told[0]["reason"].startswith("one of its 2 processes died")
    assert told[1]["from_step"] >= 20
    assert box.pids(run) == []


def says_released(run: Run) -> bool:
    """The supervisor writes it after the job has ended, when it has seen that no process is left."""
    return any(event["event"] == "released" for event in run.events())


def rank_of(pid: int) -> str:
    """What torchrun gave a process; '' for the launcher."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    except OSError:
        return ""
    return next((entry.removeprefix("RANK=") for entry in entries if entry.startswith("RANK=")), "")
