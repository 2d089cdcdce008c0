"""What averaging gradients costs two processes on a CPU: gloo, as Accelerate uses it, against memory that both share.

`python -m benchmarks.processes [--blocks N]`. Two ranks, forked as in a run, take steps of the preset quick's U-Net, 64
images each, one thread. Every block takes the same steps without any exchange, with DistributedDataParallel over gloo,
with one gloo sum of all gradients, and over shared memory with a barrier that spins. Prints medians over blocks of the
wall-clock and CPU time per step. Wall-clock means something only where both cores are idle; the load is printed beside.
"""

from __future__ import annotations

import argparse
import mmap
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from core.config.schema import UnetSettings
from core.models.unet import build_unet
from core.training.diffusion_objective import DiffusionObjective
from core.training.ranks import become_ranks

IMAGES = 64  # per rank and step
STEPS = 5  # per block


def shared(count: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Zeros that a forked process sees too."""
    return torch.frombuffer(mmap.mmap(-1, count * dtype.itemsize), dtype=dtype)


def objective() -> DiffusionObjective:
    """The U-Net of the preset quick."""
    return DiffusionObjective(build_unet(UnetSettings(), latent_channels=4, latent_size=8, num_classes=10))


def ways(turns: np.ndarray, rows: torch.Tensor) -> dict[str, Callable[[], None]]:
    """Name → one step. turns, rows: shared memory, a counter and a row of gradients per rank."""
    rank = dist.get_rank()
    plain, wrapped = objective(), DistributedDataParallel(objective())
    parameters = list(plain.parameters())
    batch = {
        "noisy_latents": torch.randn(IMAGES, 4, 8, 8),
        "timesteps": torch.rand(IMAGES) * 1000,
        "labels": torch.zeros(IMAGES, dtype=torch.long),
        "target": torch.randn(IMAGES, 4, 8, 8),
        "weight": torch.ones(IMAGES),
    }

    def backward(network: Any) -> None:
        network.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            loss = network(**batch)["loss"]
        loss.backward()

    def gradients() -> torch.Tensor:
        return torch.cat([parameter.grad.flatten() for parameter in parameters])  # type: ignore[union-attr]

    def meet() -> None:
        turns[rank * 8] += 1
        while turns[(1 - rank) * 8] < turns[rank * 8]:
            os.sched_yield()

    def over_gloo() -> None:
        backward(plain)
        dist.all_reduce(gradients())

    def over_memory() -> None:
        backward(plain)
        rows[rank] = gradients()
        meet()
        rows.sum(0)
        meet()

    return {
        "no exchange": lambda: backward(plain),
        "gloo, DistributedDataParallel": lambda: backward(wrapped),
        "gloo, one sum": over_gloo,
        "shared memory": over_memory,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--blocks", type=int, default=20)
    blocks = parser.parse_args().blocks
    torch.set_num_threads(1)
    size = sum(parameter.numel() for parameter in objective().parameters())
    turns, rows = shared(16, torch.int64).numpy(), shared(2 * size).view(2, size)
    become_ranks(2)
    steps = ways(turns, rows)
    wall: dict[str, list[float]] = {name: [] for name in steps}
    cpu: dict[str, list[float]] = {name: [] for name in steps}
    for block in range(blocks + 1):
        for name, step in steps.items():
            dist.barrier()
            began, used = time.perf_counter(), time.process_time()
            for _ in range(STEPS):
                step()
            dist.barrier()
            if block:  # the first warms up
                wall[name].append((time.perf_counter() - began) / STEPS)
                cpu[name].append((time.process_time() - used) / STEPS)
    if dist.get_rank() == 0:
        print(f"{size:,} parameters, load {os.getloadavg()[0]:.1f}; ms per step, medians of {blocks} blocks")
        for name in steps:
            print(f"{name:30} wall {1e3 * np.median(wall[name]):6.1f}   CPU {1e3 * np.median(cpu[name]):6.1f}")


if __name__ == "__main__":
    main()
