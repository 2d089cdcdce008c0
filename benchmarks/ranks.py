"""One training by one, two and four processes: equal, repeated, stopped, killed, and how much faster.

`python -m benchmarks.ranks {equal,speed,stops,kills,stall,nodes} …` Everything runs on the CPU through the code of a
real run: a small VAE and U-Net on scikit-learn's digits.
equal: STEPS steps of VAE and U-Net by 1, 2 and 4 processes in float32, with micro-batches; a stop in the middle with
another number after it; the same number twice. Says by how much losses and last weights differ, and how far two runs
of different seeds are apart.
speed: images per second of the preset quick's U-Net and VAE by one and two processes, alternating.
stops: ROUNDS runs of two processes, each stopped at a moment drawn at random, through queue, supervisor and shim: how
many left a checkpoint of the very step that verifies, and nobody alive.
kills: SIGKILL of the first rank, the second, and torchrun, with ranks that the lab forks and with those of torchrun:
seconds until no process lives and until the run says how it ended.
stall: seconds per checkpoint and per preview of a run of two processes beside its training steps.
nodes: STEPS steps of the VAE by one process, and by two torchruns of one process each that meet on this machine, as
two nodes of a cluster do.
Results: benchmarks/results/ranks-<what>-<date>.json.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from benchmarks.report import keep
from core.config.load import load_config
from core.data.arrays import prepare
from core.jobs import service
from core.jobs.engines.local import LocalEngine
from core.jobs.launch import torchrun
from core.jobs.queue import JobState
from core.machine import attempts
from core.runs.checkpoints import load_newest
from core.runs.metrics import read_metrics
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.endings import end_lab

SMALL = {
    "data.name": "digits",
    "data.image_size": 16,
    "vae.block_out_channels": (8, 16),
    "unet.block_out_channels": (8, 16),
    "unet.attention_levels": (1,),
    "logging.validate_every_steps": 1000,
    "machine.device": "cpu",
    "machine.mixed_precision": "no",
    "logging.num_previews": 2,
    "logging.log_every_steps": 1,
}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TORCHRUN += ["-m", "core.jobs.worker"]
TRAIN = """
import os, sys
from pathlib import Path
from core.runs.kinds import function_at
from core.runs.store import RunStore
from core.training.ranks import become_ranks
root, name, ranks, until = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
train = function_at(RunStore(root / "runs").get(name).kind.worker)
if ranks > 1:
    become_ranks(ranks)
store = RunStore(root / "runs")
folders = {"data_dir": root / "data", "cache_dir": root / "cache", "store_root": store.root}
steps = []
train(store.get(name), **folders, should_stop=lambda: len(steps) >= until, on_step=steps.append)
os._exit(0)
"""
NEVER = 10**9


def train(root: Path, run: Run, ranks: int, until: int = NEVER) -> str:
    """Train by so many processes, at most so many steps. Returns what it logged; raises where it failed."""
    logged = "import logging; logging.basicConfig(level=logging.INFO)\n" + TRAIN
    words = [sys.executable, "-c", logged, str(root), run.id, str(ranks), str(until)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return done.stderr


def weights_of(run: Run) -> np.ndarray:
    """The last averaged weights as one vector."""
    checkpoint = load_newest(run.checkpoints_dir)
    assert checkpoint is not None
    tensors = checkpoint.tensors(f"{run.info.kind}_ema/diffusion_pytorch_model.safetensors")
    return np.concatenate([tensors[name].double().numpy().ravel() for name in sorted(tensors)])


def apart(one: Run, other: Run) -> dict[str, float]:
    """The largest relative difference of a step's loss, and the distance of the last weights over their length."""
    losses = [read_metrics(run.metrics_path)["loss"].astype(float) for run in (one, other)]
    first, second = weights_of(one), weights_of(other)
    return {
        "loss": float(np.max(np.abs(losses[0] - losses[1]) / losses[0])),
        "weights": float(np.linalg.norm(first - second) / np.linalg.norm(first)),
        "equal_to_the_bit": bool(np.array_equal(first, second) and np.array_equal(*losses)),
    }


def equal(steps: int) -> dict[str, Any]:
    """See above."""
    found: dict[str, Any] = {"steps": steps}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = RunStore(root / "runs")
        few = {"train_vae.steps": steps, "train_unet.steps": steps, "logging.save_every_steps": steps}
        parts = {f"train_{kind}.gradient_accumulation_steps": 2 for kind in ("vae", "unet")}
        parts |= {f"train_{kind}.batch_size": 32 for kind in ("vae", "unet")}
        settings = load_config(overrides={**SMALL, **few, **parts})
        other = load_config(overrides={**SMALL, **few, **parts, "seed": 1})
        prepare(settings.data, data_dir=root / "data", cache_dir=root / "cache")
        parents: tuple[str, ...] = ()
        half = steps // 2
        plans = {
            "2 processes": [(2, NEVER)],
            "4 processes": [(4, NEVER)],
            "2, then 1": [(2, half), (1, NEVER)],
            "1, then 2": [(1, half), (2, NEVER)],
            "2, stopped, 2": [(2, half), (2, NEVER)],
        }
        for kind in ("vae", "unet"):
            one = store.create(kind, settings, parents=parents)
            train(root, one, 1)
            runs = {}
            for name, plan in plans.items():
                runs[name] = store.create(kind, settings, parents=parents)
                for ranks, until in plan:
                    train(root, runs[name], ranks, until)
            seed = store.create(kind, other, parents=parents)
            train(root, seed, 1)
            found[kind] = {f"1 process and {name}": apart(one, run) for name, run in runs.items()}
            found[kind]["2 processes and 2, stopped, 2"] = apart(runs["2 processes"], runs["2, stopped, 2"])
            found[kind]["another seed"] = apart(one, seed)
            parents = (one.id,) if kind == "vae" else parents
    return found


def speed(steps: int, rounds: int) -> dict[str, Any]:
    """See above."""
    found: dict[str, Any] = {"steps": steps, "rounds": rounds}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = RunStore(root / "runs")
        few = {"data.name": "digits", "machine.device": "cpu", "logging.num_previews": 0}
        few |= {"logging.save_every_steps": steps, "logging.validate_every_steps": steps, "logging.log_every_steps": 5}
        settings = load_config(preset="quick", overrides={**few, "train_vae.steps": steps, "train_unet.steps": steps})
        prepare(settings.data, data_dir=root / "data", cache_dir=root / "cache")
        vae = store.create("vae", settings)
        train(root, vae, 1)
        for kind in ("vae", "unet"):
            speeds: dict[int, list[float]] = {1: [], 2: []}
            for _, ranks in itertools.product(range(rounds), speeds):
                run = store.create(kind, settings, parents=(vae.id,) if kind == "unet" else ())
                train(root, run, ranks)
                lines = read_metrics(run.metrics_path)["images_per_s"].astype(float)
                speeds[ranks].append(float(np.nanmedian(lines[1:-1])))
            pairs = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
            found[kind] = {"images_per_s": speeds, "speed_up": round(median(pairs), 2), "of_each_pair": pairs}
    return found


class Living:
    """A run of two processes through queue, supervisor and shim, that has taken a few steps."""

    def __init__(self, root: Path, worker: list[str] | None, **changes: object) -> None:
        self.store = RunStore(root / "runs")
        self.engine = LocalEngine(self.store, worker)
        endless = {"train_vae.steps": 100_000, "logging.save_every_steps": 100_000, "machine.num_processes": 2}
        self.run = self.store.create("vae", load_config(overrides={**SMALL, **endless, **changes}))
        self.engine.submit([self.run])
        self.wait(lambda: self.run.status().step > 5 or not self.run.status().state.is_active)
        if not self.run.status().state.is_active:
            raise RuntimeError(f"{self.run.status()}: {self.run.log_path.read_text()[-3000:]}")

    def wait(self, condition: Callable[[], object], seconds: float = 300.0) -> None:
        """Until it holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(str(self.run.status()))
            time.sleep(0.02)

    def pids(self) -> list[int]:
        """Of all that belong to the attempt."""
        job = self.engine.queue.job(self.run.id)
        return attempts.living_pids(attempts.token_of(self.run.id, job.attempt)) if job else []

    def has_ended(self) -> bool:
        """Whether the run says how."""
        job = self.engine.queue.job(self.run.id)
        return job is not None and job.state is JobState.ENDED and not self.run.status().state.is_active


def stops(rounds: int, seed: int) -> dict[str, Any]:
    """See above."""
    moments, good, reasons = random.Random(seed), 0, []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            living = Living(Path(folder), None)
            try:
                time.sleep(moments.uniform(0.0, 1.5))
                status = service.stop_run(living.store, living.run.id, by="ana", engine=living.engine)
                checkpoint = load_newest(living.run.checkpoints_dir)
                is_whole = checkpoint is not None and checkpoint.step == status.step and not checkpoint.skipped
                good += status.state is RunState.STOPPED and is_whole and not living.pids()
                reasons.append(status.reason)
            finally:
                end_lab(living.store)
    return {"stops": rounds, "with_a_verified_checkpoint_and_nobody_alive": good, "seed": seed, "reasons": reasons}


def kills(rounds: int) -> dict[str, Any]:
    """See above."""
    found: dict[str, Any] = {}
    plans = [
        ("forked", "rank 0"),
        ("forked", "rank 1"),
        *(("torchrun", name) for name in ("rank 0", "rank 1", "torchrun")),
    ]
    for way, victim in plans:
        rows = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                worker = TORCHRUN if way == "torchrun" else None
                living = Living(Path(folder), worker, **{"machine.auto_resume": False})
                try:
                    rows.append(kill(living, victim, has_launcher=way == "torchrun"))
                finally:
                    end_lab(living.store)
        found[f"{way}, {victim}"] = {
            "gone_s": [round(row[0], 2) for row in rows],
            "told_s": [round(row[1], 2) for row in rows],
            "reason": rows[-1][2],
        }
    return found


def kill(living: Living, victim: str, *, has_launcher: bool) -> tuple[float, float, str]:
    """(seconds until no process of the attempt lives, until the run says how it ended, how)."""
    main = living.run.status().process
    assert main is not None
    pids = living.pids()
    launcher = psutil.Process(main.pid).ppid() if has_launcher else None
    parent = launcher or main.pid
    other = next(pid for pid in pids if pid not in (main.pid, launcher) and psutil.Process(pid).ppid() == parent)
    began = time.monotonic()
    os.kill({"rank 0": main.pid, "rank 1": other, "torchrun": launcher or 0}[victim], signal.SIGKILL)
    living.wait(lambda: not living.pids())
    gone = time.monotonic() - began
    living.wait(living.has_ended)
    return gone, time.monotonic() - began, living.run.status().reason


def stall(steps: int) -> dict[str, Any]:
    """See above."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = RunStore(root / "runs")
        few = {"data.name": "digits", "machine.device": "cpu", "train_vae.steps": steps, "train_unet.steps": steps}
        few |= {"logging.save_every_steps": max(1, steps // 10), "logging.num_previews": 10}
        settings = load_config(preset="quick", overrides=few)
        prepare(settings.data, data_dir=root / "data", cache_dir=root / "cache")
        vae, found = store.create("vae", settings), {}
        unet = store.create("unet", settings, parents=(vae.id,))
        for run in (vae, unet):
            words = re.search(r"training took .*", train(root, run, 2))
            found[run.info.kind] = words[0] if words else ""
    return {"steps": steps, "previews": 10, "checkpoints": 10, **found}


def nodes(steps: int) -> dict[str, Any]:
    """See above."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        root = Path(folder)
        store = RunStore(root / "runs")
        settings = load_config(overrides={**SMALL, "train_vae.steps": steps})
        prepare(settings.data, data_dir=root / "data", cache_dir=root / "cache")
        one, two = (store.create("vae", settings) for _ in range(2))
        train(root, one, 1)
        meeting = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        worker = ["-m", "core.jobs.worker", "--runs", str(store.root), two.id]
        command = [*torchrun(1, nodes=2, meeting=meeting, name=two.id), *worker]
        own = {"LAB_DATA": str(root / "data"), "LAB_CACHE": str(root / "cache"), "LAB_DEVICE": "cpu"}
        own |= {attempts.TOKEN_VARIABLE: attempts.token_of(two.id, 1), "GLOO_SOCKET_IFNAME": "lo"}
        launchers = [subprocess.Popen(command, env={**os.environ, **own}, stderr=subprocess.DEVNULL) for _ in range(2)]
        for launcher in launchers:
            launcher.wait()
        return {"steps": steps, "state": str(two.status().state), "reason": two.status().reason, **apart(one, two)}


def main() -> None:
    """Measure one of them and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("equal", "speed", "stops", "kills", "stall", "nodes"))
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = {
        "equal": lambda: equal(options.steps),
        "speed": lambda: speed(options.steps, options.rounds),
        "stops": lambda: stops(options.rounds, options.seed),
        "kills": lambda: kills(options.rounds),
        "stall": lambda: stall(options.steps),
        "nodes": lambda: nodes(options.steps),
    }[options.what]()
    keep(f"ranks-{options.what}", found)


if __name__ == "__main__":
    main()
