"""Steps a second of training on a GPU, with and without CUDA graphs. `python -m benchmarks.gpu_training`

Trains for real, through the same code as a run: MNIST at 32 pixels, the VAE and the U-Net of the presets. A rate is
that of the steps after the first 50 of a training (loading, warm-up and capture left out), logging and saving included.
Pairs with and without graphs alternate in one process. Results: benchmarks/results/gpu-training-<date>.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import RESULTS
from core.config.load import load_config, read_site
from core.device import device_label, resolve_device
from core.runs.run import Run
from core.runs.store import RunStore

LEFT_OUT = 50


def rate_of(kind: str, preset: str, graphs: bool, options: argparse.Namespace, work: Path, vae: Run | None) -> float:
    """Train one run of `kind` for `options.steps` steps and return its steps a second; `vae` is what a U-Net needs."""
    from core.training import train_unet, train_vae

    settings = load_config(
        preset=preset,
        overrides={
            "machine.cuda_graphs": graphs,
            f"train_{kind}.steps": options.steps,
            "logging.num_previews": 0,
            "logging.validate_every_steps": 100_000,
            "logging.save_every_steps": 100_000,
            "seed": options.seed,
        },
    )
    run = RunStore(work / "runs").create(kind, settings, parents=(vae.id,) if vae else ())  # type: ignore[arg-type]
    at: list[float] = []
    module = train_unet if kind == "unet" else train_vae
    module.train(
        run,
        data_dir=read_site()[0].data,
        cache_dir=work / "cache",
        store_root=work / "runs",
        should_stop=lambda: False,
        on_step=lambda _: at.append(time.monotonic()),
    )
    return (len(at) - 1 - LEFT_OUT) / (at[-1] - at[LEFT_OUT])


def main() -> None:
    """Measure and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=["quick", "standard"])
    parser.add_argument("--steps", type=int, default=350)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="gpu-training-") as folder:
        work = Path(folder)
        for preset in options.presets:
            rate_of("vae", preset, True, options, work, None)  # the U-Nets' VAE; also warms everything up
            vae = RunStore(work / "runs").list()[-1]
            for kind in ("vae", "unet"):
                rates: dict[bool, list[float]] = {True: [], False: []}
                for _ in range(options.rounds):
                    for graphs in (True, False):
                        parent = vae if kind == "unet" else None
                        rates[graphs].append(rate_of(kind, preset, graphs, options, work, parent))
                ratios = [fast / slow for fast, slow in zip(rates[True], rates[False], strict=True)]
                rows.append(
                    {
                        "preset": preset,
                        "network": kind,
                        "steps_per_s": {
                            "graphs": [round(rate, 1) for rate in rates[True]],
                            "none": [round(rate, 1) for rate in rates[False]],
                        },
                        "ratio_median": round(statistics.median(ratios), 2),
                    }
                )
                print(json.dumps(rows[-1]), flush=True)
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device_label(resolve_device("auto")),
        "torch": torch.__version__,
        "steps": options.steps,
        "left_out": LEFT_OUT,
        "seed": options.seed,
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"gpu-training-{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"kept in {path}")


if __name__ == "__main__":
    main()
