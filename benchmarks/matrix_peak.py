"""Which share of the measured matrix peak a large U-Net reaches, and what bounds it. `python -m benchmarks.matrix_peak`

Measures a bf16 matrix product, then training steps of a U-Net of about 60 million parameters, through the code of a
run: Accelerate, EMA, clipping, and CUDA graphs where a run has them. FLOPs are counted by PyTorch over one forward and
backward pass. The profiler says where the time of a step goes: kernels of products and convolutions (compute), other
kernels (memory), or none (launches: the device waits for Python). It runs on a CPU too, with --side and --set smaller.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.report import keep
from core.config.load import load_config, parse_override
from core.config.schema import Settings
from core.device import device_label
from core.diffusion.schedule import build_schedule
from core.models.summary import latent_shape
from core.models.unet import build_unet
from core.rules import NEWEST
from core.seeding import Randomness
from core.training.cuda_graphs import GraphedObjective, can_graph
from core.training.diffusion_objective import DiffusionDraw, DiffusionObjective
from core.training.loop import StepResult, build_ema, build_optimizer, train_steps
from core.training.start import open_accelerator

LARGE = {"unet.block_out_channels": [256, 512], "unet.layers_per_block": 2, "train_unet.batch_size": 512}
COMPUTE = ("gemm", "conv", "cutlass", "xmma", "sgemm", "nvjet", "wgmma", "mm_", "mkldnn", "addmm", "::mm", "bmm")


def matrix_peak(device: torch.device, side: int, rounds: int = 20) -> float:
    """FLOP/s of a bf16 matrix product, side × side; the fastest of some."""
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2.0 * side**3 / min(timed(lambda: left @ right, device) for _ in range(rounds))


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds until the device has done it."""
    finish(device)
    began = time.perf_counter()
    work()
    finish(device)
    return time.perf_counter() - began


def finish(device: torch.device) -> None:
    """Wait until the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Training:
    """Steps of a U-Net on one fixed batch of noise, as a run takes them."""

    def __init__(self, settings: Settings) -> None:
        self.accelerator = open_accelerator(settings)
        self.device, train = self.accelerator.device, settings.train_unet
        shape = latent_shape(settings)
        unet = build_unet(settings.unet, latent_channels=shape[0], latent_size=shape[1], num_classes=10)
        self.parameters = sum(parameter.numel() for parameter in unet.parameters())
        network: Any = unet.to(self.device)
        drawing = DiffusionDraw(
            schedule=build_schedule(settings.diffusion).to(self.device),
            unconditional_label=10,
            cond_drop_prob=settings.diffusion.cond_drop_prob,
            random=Randomness(0, NEWEST.noise, "unet"),
        )
        clean = torch.randn(train.batch_size, *shape, device=self.device)
        self.batch = drawing.inputs(clean, torch.zeros(len(clean), dtype=torch.long, device=self.device), 0)
        ema, optimizer = build_ema(network, train), build_optimizer(network, train)
        self.objective, optimizer = self.accelerator.prepare(DiffusionObjective(network), optimizer)
        self.is_graphed = can_graph(self.accelerator, settings.machine, train)
        self.results: Iterator[StepResult] = train_steps(
            GraphedObjective(self.objective) if self.is_graphed else self.objective,
            draw=lambda step: self.batch,
            accelerator=self.accelerator,
            optimizer=optimizer,
            ema=ema,
            settings=train,
            first_step=0,
        )

    def flops(self) -> float:
        """Of one forward and backward pass over the batch."""
        with FlopCounterMode(display=False) as counter:
            self.accelerator.backward(self.objective(**self.batch)["loss"])
        self.objective.zero_grad(set_to_none=True)
        return float(counter.get_total_flops())

    def step(self) -> None:
        """One optimizer step."""
        next(self.results)

    def where(self, steps: int = 5) -> dict[str, float]:
        """Seconds per step in products and convolutions, in other kernels, and in none; kernels per step."""
        on_gpu = self.device.type == "cuda"
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        wall = 0.0
        with profile(activities=kinds) as found:
            for _ in range(steps):
                wall += timed(self.step, self.device)
        kernels = [event for event in found.key_averages() if not on_gpu or str(event.device_type).endswith("CUDA")]
        seconds = {
            event.key: (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6 / steps
            for event in kernels
        }
        compute = sum(value for name, value in seconds.items() if any(word in name.lower() for word in COMPUTE))
        busy = sum(seconds.values())
        return {
            "profiled_step_s": wall / steps,
            "products_and_convolutions_s": compute,
            "other_kernels_s": busy - compute,
            "no_kernel_s": max(0.0, wall / steps - busy),
            "kernels": sum(event.count for event in kernels) / steps,
        }


def measured(settings: Settings, side: int, steps: int) -> dict[str, Any]:
    """Peak, step, share and what bounds it."""
    training = Training(settings)
    peak, flops = matrix_peak(training.device, side), training.flops()
    capture_s = timed(training.step, training.device)
    for _ in range(3):
        training.step()
    step_s = statistics.median(timed(training.step, training.device) for _ in range(steps))
    where = training.where()
    bounds = {"compute": "products_and_convolutions_s", "memory": "other_kernels_s", "launches": "no_kernel_s"}
    return {
        "device": device_label(training.device),
        "torch": torch.__version__,
        "parameters": training.parameters,
        "batch_size": settings.train_unet.batch_size,
        "is_graphed": training.is_graphed,
        "first_step_s": capture_s,
        "step_s": step_s,
        "flops_per_step": flops,
        "matrix_peak_flops_per_s": peak,
        "share_of_peak": flops / step_s / peak,
        "bound_by": max(bounds, key=lambda name: where[bounds[name]]),
        **where,
    }


def main() -> None:
    """Measure, keep and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--side", type=int, default=8192, help="of the matrices (default: 8192)")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--label", default="", help="added to the name of the result file")
    options = parser.parse_args()
    settings = load_config(preset=options.preset, overrides={**LARGE, **dict(map(parse_override, options.changes))})
    result = measured(settings, options.side, options.steps)
    keep("matrix-peak", {"preset": options.preset, "changes": options.changes, **result}, options.label)


if __name__ == "__main__":
    main()
