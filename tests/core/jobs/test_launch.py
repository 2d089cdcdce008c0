"""What surrounds a training: its command line and its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.load import load_config
from core.jobs.job_row import job_for
from core.jobs.launch import KEEPS_MEMORY, worker_command, worker_environment
from core.jobs.slots import CPU, Device
from core.runs.run import Run
from core.runs.store import RunStore


@pytest.fixture
def run(tmp_path: Path) -> Run:
    settings = load_config(overrides={"machine.num_processes": 2})
    return RunStore(tmp_path / "runs").create("vae", settings)


def environment(run: Run, *names: str) -> dict[str, str]:
    devices = [Device(name=name, title=name, visible=name, capacity=1) for name in names]
    return worker_environment(run, job_for(run), devices, run.folder)


def test_on_a_cpu_memory_is_kept_unless_somebody_said_otherwise(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEEPS_MEMORY:
        monkeypatch.delenv(name, raising=False)
    assert KEEPS_MEMORY.items() <= environment(run, CPU).items()
    assert not KEEPS_MEMORY.keys() & environment(run, "GPU-1", "GPU-2").keys()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "4096")
    assert environment(run, CPU)["MALLOC_TRIM_THRESHOLD_"] == "4096"


def test_torchrun_starts_one_process_per_gpu_and_a_cpu_needs_none(run: Run) -> None:
    assert "torch.distributed.run" not in worker_command(run, 1)
    assert {"--nproc-per-node=3", "--standalone"} <= {*worker_command(run, 3)}
