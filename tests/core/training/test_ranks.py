"""One training in two processes, through queue, shim and worker, on the CPU: equal to one, stopped whole."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from core.config.load import load_config
from core.config.schema import Settings
from core.jobs import service
from core.jobs.engines.local import LocalEngine
from core.jobs.queue import JobState
from core.machine import attempts
from core.runs.checkpoints import load_newest
from core.runs.listing import list_checkpoints
from core.runs.metrics import read_metrics
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests import forked
from tests.endings import end_lab
from tests.models import TINY, Lab

pytestmark = pytest.mark.slow


WORKER = ("-m", "core.jobs.worker")
ENDLESS = 100_000  # steps of a run that must not end before the test has acted, however slow the machine


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
    """The first rank is forked from a process that has PyTorch."""
    yield from opened(tmp_path, forked.command(*WORKER))


@pytest.fixture
def real_box(tmp_path: Path) -> Iterator[Box]:
    """The first rank is started by exec, as in life."""
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
        for path in sorted(one.previews_dir.iterdir()):  # each of two drew a half of it
            with np.load(path) as wanted, np.load(two.previews_dir / path.name) as found:
                assert set(found) == set(wanted)
                for name in wanted:
                    np.testing.assert_allclose(found[name].astype(float), wanted[name], atol=8)
        assert [info.step for info in list_checkpoints(two)] == [info.step for info in list_checkpoints(one)]
        box.wait(lambda run=two: says_released(run), f"{two.id} was never said to be released")
        peak = next(event for event in two.events() if event["event"] == "memory")
        assert 0.5 < peak["host"] / peak["predicted_host"] < 1.5
        told = [event["event"] for event in two.events()]
        assert len(told) == len(set(told)), "a second process wrote too"
        assert two.log_path.read_text().count(f"run {two.id} finished") == 1


def test_a_run_goes_on_along_the_same_curve_with_another_number_of_processes(box: Box) -> None:
    """One process until it is stopped, then two, as the request for the rest says."""
    wide = {"train_vae.batch_size": 64, "train_vae.gradient_accumulation_steps": 1, "machine.mixed_precision": "no"}
    alone = Lab(box.root)
    whole, cut = (box.create("vae", **wide) for _ in range(2))
    alone.train(whole)
    seen: list[object] = []
    alone.train(cut, lambda: len(seen) >= 11, seen.append)
    box.engine.submit([cut], request={"num_processes": 2})
    box.wait_until_over(cut)
    assert cut.status().state is RunState.FINISHED, cut.status().reason
    lines = [read_metrics(run.metrics_path) for run in (whole, cut)]
    common = sorted(set(lines[0]["step"].tolist()) & set(lines[1]["step"].tolist()))
    assert common[-1] == 24
    last = [float(line["loss"][line["step"].tolist().index(24)]) for line in lines]
    assert last[1] == pytest.approx(last[0], rel=2e-3)
    assert cut.status().device == "CPU, 2 processes"
    assert cut.settings.machine.num_processes == 1


TRAINING = """
import os, sys
from pathlib import Path
from core.runs.kinds import function_at
from core.runs.store import RunStore
from core.training.ranks import become_ranks
root, name, ranks, until = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if ranks > 1:
    become_ranks(ranks)
store = RunStore(root / "runs")
run, steps = store.get(name), []
folders = {"data_dir": root / "data", "cache_dir": root / "cache", "store_root": store.root}
train = function_at(run.kind.worker)
train(run, **folders, should_stop=lambda: len(steps) >= until, on_step=steps.append)
os._exit(0)
"""


def weights(box: Box, run: Run, *parts: tuple[int, int]) -> dict[str, torch.Tensor]:
    """The run's last averaged weights after these parts: (processes, steps)."""
    for ranks, steps in parts:
        done = forked.run("-c", TRAINING, str(box.root), run.id, str(ranks), str(steps))
        assert done.returncode == 0, done.stderr[-2000:]
    checkpoint = load_newest(run.checkpoints_dir)
    assert checkpoint is not None and checkpoint.step == 24
    return checkpoint.tensors(f"{run.info.kind}_ema/diffusion_pytorch_model.safetensors")


def test_two_processes_repeat_to_the_bit_over_a_stop_and_one_goes_on_where_they_were(box: Box) -> None:
    exact = {"machine.mixed_precision": "no"}
    Lab(box.root)
    whole, cut, changed = (box.create("vae", **exact) for _ in range(3))
    expected = weights(box, whole, (2, ENDLESS))
    again = weights(box, cut, (2, 11), (2, ENDLESS))
    alone = weights(box, changed, (2, 11), (1, ENDLESS))
    for name, value in expected.items():
        assert torch.equal(again[name], value), name
        torch.testing.assert_close(alone[name], value, rtol=1e-3, atol=1e-5)


ENCODING = """
import os, sys
from pathlib import Path
import numpy as np, torch
from core.config.load import load_config
from core.config.schema import VaeSettings
from core.latent.cache import cached_latents
from core.models.vae import build_vae
from core.training.ranks import become_ranks
from core.training.start import open_accelerator
os.environ.pop("OMP_NUM_THREADS", None)
torch.set_num_threads(1)
become_ranks(2)
for threads in (2, 1):
    accelerator = open_accelerator(load_config(overrides={"machine.num_threads": threads, "machine.device": "cpu"}))
    assert (torch.get_num_threads(), accelerator.num_processes) == (threads, 2)
torch.manual_seed(0)
vae = build_vae(VaeSettings(block_out_channels=(8, 8)), channels=1, image_size=16).eval()
images = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 1), dtype=np.uint8)
both = cached_latents(vae, images, key="both", cache_dir=Path(sys.argv[1]), batch_size=8, ranks=2)
if os.environ["RANK"] == "1":
    os._exit(0)
one = cached_latents(vae, images, key="one", cache_dir=Path(sys.argv[1]), batch_size=8)
assert np.array_equal(both.moments, one.moments) and both.scaling == one.scaling
print("equal", len(one.moments))
"""


def test_two_processes_encode_what_one_encodes_to_the_bit(tmp_path: Path, forks: None) -> None:
    done = forked.run("-c", ENCODING, str(tmp_path))
    assert done.stdout.strip() == "equal 50", done.stderr[-2000:]


SLOW_DISK = """
import os, sys, time
from datetime import timedelta
from pathlib import Path
from torch.distributed import distributed_c10d
from core.config.load import load_config
from core.training.start import open_accelerator
distributed_c10d.default_pg_timeout = timedelta(seconds=1)
rank, waits = int(os.environ["RANK"]), Path(sys.argv[1])
accelerator = open_accelerator(load_config(overrides={"machine.device": "cpu"}))
if rank == 1:
    waits.touch()
while not waits.exists():
    time.sleep(0.01)
if rank == 0:
    time.sleep(3)  # the disk
accelerator.wait_for_everyone()
print("together")
os._exit(0)
"""


def test_ranks_of_torchrun_wait_for_a_first_one_whose_disk_is_slow(tmp_path: Path, forks: None) -> None:
    """Longer than torch lets them wait by default, which is ten minutes over NCCL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "GLOO_SOCKET_IFNAME": "lo"}
    logs = [tmp_path / f"{rank}.txt" for rank in range(2)]
    ranks = []
    for rank, path in enumerate(logs):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        with path.open("w") as log:
            streams = (0, log.fileno(), log.fileno())
            words = ("-c", SLOW_DISK, str(tmp_path / "waits"))
            ranks.append(forked.Process(*words, env={**os.environ, **place, **own}, cwd=forked.ROOT, streams=streams))
    codes = [process.wait(600) for process in ranks]
    assert codes == [0, 0], [path.read_text()[-1000:] for path in logs]


AVERAGING = """
import os, torch
from core.errors import RankLost
from core.training.ranks import become_ranks, shared_mean
become_ranks(3)
mean, rank = shared_mean(), int(os.environ["RANK"])
for round, length in enumerate((3, 3, 5000, 1, 7000, 7000, 2, 7000) * 25):
    seeds = (torch.Generator().manual_seed(3 * round + k) for k in range(3))
    of_all = torch.stack([torch.randn(length, generator=seed) for seed in seeds])
    assert torch.equal(mean(of_all[rank]), of_all.mean(0)), (rank, round)
if rank == 2:
    os._exit(0)
try:
    mean(torch.ones(3))
except RankLost as error:
    print("rank", rank, "misses", str(error).split(", ")[1], flush=True)
os._exit(0)
"""


def test_all_ranks_get_the_same_bits_and_the_first_one_notices_who_is_gone(forks: None) -> None:
    """Rank 1 cannot know: it waits until the first rank ends, and the kernel ends it with that one."""
    done = forked.run("-c", AVERAGING)
    assert done.stdout.strip() == "rank 0 misses another rank of this training", done.stderr[-2000:]


SHARING = """
import os, torch
from torch import nn
from core.config.schema import TrainSettings
from core.training.muon import Muon
from core.training.ranks import become_ranks, shared_mean
become_ranks(3)
mean, rank = shared_mean(), int(os.environ["RANK"])
torch.manual_seed(0)
gradients = [torch.randn(5, 7, 3, 3), torch.randn(40, 5), torch.randn(40), torch.randn(5, 5), torch.randn(9, 4)]
def weights(shared):
    network = nn.ParameterList(torch.ones_like(each) for each in gradients)
    optimizer = Muon(network, TrainSettings(optimizer="muon"), shared)
    for _ in range(3):
        for parameter, gradient in zip(network, gradients):
            parameter.grad = gradient.clone()
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in network])
alone, together = weights(None), weights(mean)
assert (alone - 1.0).abs().min() > 0.0
torch.testing.assert_close(together, alone, rtol=0.0, atol=1e-6)
assert torch.equal(mean(together * (rank == 1)) * 3, mean(together * (rank == 0)) * 3), "ranks differ"
os.write(1, f"rank {rank} agrees\\n".encode())  # whole: three ranks write at once
mean(torch.ones(1))
os._exit(0)
"""


def test_ranks_that_share_the_updates_of_muon_take_the_steps_of_one(forks: None) -> None:
    done = forked.run("-c", SHARING)
    agreed = sorted(line for line in done.stdout.splitlines() if line.startswith("rank"))
    assert agreed == [f"rank {rank} agrees" for rank in range(3)], done.stderr[-2000:]


def test_two_processes_stop_at_one_step_and_leave_none_behind(real_box: Box) -> None:
    two = {"machine.num_processes": 2, "machine.stop_grace_s": 600}
    run = real_box.create("vae", **two, **{"train_vae.steps": ENDLESS})
    real_box.submit(run)
    real_box.wait(lambda: run.status().step > 3, f"never trained: {run.status()}")
    assert len(real_box.pids(run)) == 2
    assert run.status().device == "CPU, 2 processes"
    status = service.stop_run(real_box.store, run.id, by="ana", engine=real_box.engine)
    assert status.state is RunState.STOPPED
    assert status.reason.startswith(f"stopped by ana at step {status.step:,}")
    assert list_checkpoints(run)[-1].step == status.step
    assert real_box.pids(run) == []


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_takes_the_others_along_and_the_run_goes_on(box: Box, victim: int) -> None:
    few = {"logging.save_every_steps": 10, "logging.log_every_steps": 10, "machine.stop_grace_s": 600}
    run = box.create("vae", **{"machine.num_processes": 2, "train_vae.steps": ENDLESS, **few})
    box.submit(run)
    box.wait(lambda: run.status().step > 20, f"never trained: {run.status()}")
    main = run.status().process
    assert main is not None
    (other,) = (pid for pid in box.pids(run) if psutil.Process(pid).ppid() == main.pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill((main.pid, other)[victim], signal.SIGKILL)
    box.wait(lambda: len(returns(run)) == 2, f"never came back: {run.status()}")
    told = returns(run)
    assert [event["event"] for event in told] == ["queued", "resumed"]
    box.wait(lambda: run.status().step > told[1]["from_step"], f"does not go on: {run.status()}")
    assert service.stop_run(box.store, run.id, by="ana", engine=box.engine).state is RunState.STOPPED
    words = ("its process was killed from outside the lab", "one of its 2 processes died")
    assert told[0]["reason"].startswith(words[victim])
    assert told[1]["from_step"] >= 20
    assert box.pids(run) == []


def returns(run: Run) -> list[dict[str, Any]]:
    return [event for event in run.events() if event["event"] in ("queued", "resumed")]


def says_released(run: Run) -> bool:
    """The supervisor writes it after the job has ended, when it has seen that no process is left."""
    return any(event["event"] == "released" for event in run.events())
