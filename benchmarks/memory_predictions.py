"""Predicted against measured memory of training and generating. `python -m benchmarks.memory_predictions`

Each piece of work runs in a process of its own, through the code of a real run: scikit-learn's digits at 32 pixels, few
steps, a validation, a preview and a checkpoint. On a CPU: its anonymous resident memory at the peak, minus that after
the imports. On a GPU: what PyTorch had allocated at the peak.
Results: benchmarks/results/memory-predictions-<date>.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, machine
from core.config.load import load_config, preset_names
from core.config.schema import Settings
from core.models.weight import Weight, weigh_drawing, weigh_training
from core.runs.store import RunStore

WORKS = ("vae", "unet", "drawing")
SET = {"channels": 1, "num_classes": 10}
DRAWN = 64


def settings_of(preset: str, precision: str, steps: int) -> Settings:
    """The preset, shortened, on data that needs no download."""
    return load_config(
        preset=preset,
        overrides={
            "data.name": "digits",
            "machine.mixed_precision": precision,
            "train_vae.steps": steps,
            "train_unet.steps": steps,
            "logging.num_previews": 1,
        },
    )


def predicted(settings: Settings, work: str, *, on_gpu: bool, bf16: bool) -> Weight:
    """What the lab says beforehand."""
    if work in ("vae", "unet"):
        return weigh_training(settings, work, on_gpu=on_gpu, bf16=bf16, **SET)
    return weigh_drawing(settings, images=DRAWN, on_gpu=on_gpu, frames=11, **SET)


def measure(work: str, settings: Settings, folder: Path) -> dict[str, Any]:
    """In the child: do it, and tell bytes at the peak."""
    import torch

    from core.data.arrays import prepare
    from core.device import mixed_precision, resolve_device
    from core.sampling.load import load_model
    from core.sampling.request import request_of
    from core.sampling.trajectory import record
    from core.training import train_unet, train_vae
    from core.training.start import open_accelerator

    device = open_accelerator(settings).device
    folders: dict[str, Any] = {"data_dir": folder / "data", "cache_dir": folder / "cache"}
    prepare(settings.data, **folders)
    store = RunStore(folder / "runs")
    done = {run.info.kind: run for run in store.list()}
    begin_peak(device)
    if work in ("vae", "unet"):
        parents = (done["vae"].id,) if work == "unet" else ()
        run = store.create(work, settings, parents=parents)
        train = train_vae.train if work == "vae" else train_unet.train
        train(run, **folders, store_root=store.root, should_stop=lambda: False)
    else:
        sampling = settings.sampling.model_copy(update={"num_inference_steps": 10, "guidance_scale": 1.5})
        record(load_model(done["unet"], device=str(device)), request_of(sampling, [0] * DRAWN), with_layers=True)
    bf16 = mixed_precision(settings.machine.mixed_precision, resolve_device(settings.machine.device)) == "bf16"
    return {"bytes": peak(device), "on_gpu": device.type == "cuda", "bf16": bf16, "torch": torch.__version__}


_before = 0


def _status(name: str) -> int:
    rows = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return next(int(row[1]) * 1024 for row in rows if row[0] == f"{name}:")


def begin_peak(device: Any) -> None:
    """Forget earlier peaks."""
    import torch

    global _before
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    Path("/proc/self/clear_refs").write_text("5")
    _before = _status("RssAnon")


def peak(device: Any) -> int:
    """Bytes since `begin_peak`. On a CPU the files that were mapped meanwhile are left out."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return _status("VmHWM") - _status("RssFile") - _before


def run_child(work: str, preset: str, precision: str, steps: int, folder: Path) -> dict[str, Any]:
    """One row of the table."""
    command = [sys.executable, "-m", "benchmarks.memory_predictions", "--child", work, "--presets", preset]
    command += ["--precision", precision, "--steps", str(steps), "--folder", str(folder)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(output.splitlines()[-1])
    weight = predicted(settings_of(preset, precision, steps), work, on_gpu=found["on_gpu"], bf16=found["bf16"])
    return {
        "preset": preset,
        "work": work,
        **found,
        "parameters": weight.parameters,
        "predicted_bytes": weight.device_bytes,
        "predicted_over_measured": round(weight.device_bytes / found["bytes"], 3),
    }


def main() -> None:
    """Measure all and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=preset_names())
    parser.add_argument("--precision", nargs="+", default=["no", "bf16"])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--child", choices=WORKS)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.child:
        settings = settings_of(options.presets[0], options.precision[0], options.steps)
        print(json.dumps(measure(options.child, settings, options.folder)))
        return
    rows = []
    for precision in options.precision:
        for preset in options.presets:
            with tempfile.TemporaryDirectory() as folder:
                for work in WORKS:
                    row = run_child(work, preset, precision, options.steps, Path(folder))
                    rows.append(row)
                    print(
                        f"{preset:10} {work:8} {'bf16' if row['bf16'] else 'float32':8}"
                        f"{row['bytes'] / 1e6:9.0f} MB measured {row['predicted_bytes'] / 1e6:9.0f} MB predicted"
                        f"{row['predicted_over_measured']:7.2f}",
                        flush=True,
                    )
    path = RESULTS / f"memory-predictions-{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps({**machine(), "rows": rows}, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
