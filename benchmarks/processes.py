"""What averaging gradients costs two processes on a CPU: gloo, as Accelerate uses it, against memory that both share.

`python -m benchmarks.processes [--blocks N]`. Two ranks, forked as in a run, take steps of the U-Net of minute, 64
images each, one thread. Every block takes the same steps without any exchange, with DistributedDataParallel over gloo,
with one gloo sum of all gradients, and in memory that both share, as a run does. Prints medians over blocks of the
wall-clock and CPU time per step. Wall-clock means something only where both cores are idle; the load is printed beside.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from core.config.load import load_config
from core.models.unet import build_unet
from core.training.diffusion_objective import DiffusionObjective
from core.training.loop import Mean, average
from core.training.ranks import become_ranks, shared_mean

IMAGES = 64  # per rank and step
STEPS = 5  # per block


def objective() -> DiffusionObjective:
    """The U-Net of the preset minute."""
    settings = load_config(preset="minute").unet
    return DiffusionObjective(build_unet(settings, latent_channels=4, latent_size=8, num_classes=10))


def ways(mean: Mean) -> dict[str, Callable[[], object]]:
    """Name → one step. mean: over the ranks, in memory that they share."""
    plain, wrapped = objective(), DistributedDataParallel(objective())
    parameters = list(plain.parameters())
    batch = {
        "noisy_latents": torch.randn(IMAGES, 4, 8, 8),
        "timesteps": torch.rand(IMAGES) * 1000,
        "labels": torch.zeros(IMAGES, dtype=torch.long),
        "target": torch.randn(IMAGES, 4, 8, 8),
        "weight": torch.ones(IMAGES),
    }

    def backward(network: Any) -> torch.Tensor:
        network.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            loss = network(**batch)["loss"]
        loss.backward()
        return loss.detach().view(1)

    def over_gloo(vector: torch.Tensor) -> torch.Tensor:
        dist.all_reduce(vector)
        return vector / dist.get_world_size()

    return {
        "no exchange": lambda: backward(plain),
        "gloo, DistributedDataParallel": lambda: backward(wrapped),
        "gloo, one sum": lambda: average(parameters, backward(plain), over_gloo),
        "shared memory": lambda: average(parameters, backward(plain), mean),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--blocks", type=int, default=20)
    blocks = parser.parse_args().blocks
    torch.set_num_threads(1)
    become_ranks(2)
    mean = shared_mean()
    assert mean
    steps = ways(mean)
    size = sum(parameter.numel() for parameter in objective().parameters())
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
