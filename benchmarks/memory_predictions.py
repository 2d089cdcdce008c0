"""Predicted against measured memory of training and generating. `python -m benchmarks.memory_predictions`

Each piece of work runs in a process of its own, through the code of a real run: scikit-learn's digits at 32 pixels, few
steps, a validation, a preview and a checkpoint. On a CPU: its anonymous resident memory at the peak, minus that after
the imports. On a GPU: what PyTorch had allocated at the peak.
With --processes 1 2: whole runs on a CPU, by so many processes; the memory of all of them, shared pages counted once,
against what the queue expects before the start.
Results: benchmarks/results/memory-predictions-<date>.json, and -runs for whole runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.report import RESULTS, machine
from core.config.load import load_config, preset_names
from core.config.schema import Settings
from core.data.arrays import prepare
from core.jobs.launch import KEEPS_MEMORY
from core.models.weight import Weight, weigh_drawing, weigh_training
from core.runs.kinds import trained_by
from core.runs.store import RunStore
from core.weighing import need_of

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


def run_rows(preset: str, counts: Sequence[int], steps: int) -> Iterator[dict[str, Any]]:
    """A VAE run and its U-Net run as the queue starts them, by each number of processes."""
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            store = RunStore(Path(folder) / "runs")
            settings = settings_of(preset, "auto", steps)
            changes = {"device": "cpu", "num_processes": count}
            settings = settings.model_copy(update={"machine": settings.machine.model_copy(update=changes)})
            prepare(
                settings.data, data_dir=Path(folder) / "data", cache_dir=Path(folder) / "cache"
            )  # as a command does
            parents: tuple[str, ...] = ()
            for kind in trained_by("all"):
                run = store.create(kind.name, settings, parents=parents)
                parents = (run.id,)
                found = peak_pss([sys.executable, "-m", "core.jobs.worker", "--runs", str(store.root), run.id], folder)
                need = need_of(settings, kind, on_gpu=False).host
                yield {
                    "preset": preset,
                    "work": kind.name,
                    "processes": count,
                    "pss_bytes": found["pss"],
                    "held_bytes": found["held"],
                    "predicted_bytes": need,
                    "predicted_over_measured": round(need / found["held"], 3),
                }


def peak_pss(command: Sequence[str], folder: str) -> dict[str, int]:
    """Bytes of all processes of a command at the most, looked at twenty times a second. Raises when it fails.

    pss: with their share of what is mapped from files, which the kernel takes back when memory is short. held: without.
    """
    environment = {**os.environ, **KEEPS_MEMORY, "LAB_CACHE": f"{folder}/cache", "LAB_DATA": f"{folder}/data"}
    highest = {"pss": 0, "held": 0}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as child:
        first = psutil.Process(child.pid)
        while child.poll() is None:
            sums = Counter[str]()
            with contextlib.suppress(psutil.Error, OSError):
                for each in (first, *first.children(recursive=True)):
                    rows = Path(f"/proc/{each.pid}/smaps_rollup").read_text().splitlines()[1:]
                    sums.update({row.split()[0]: 1024 * int(row.split()[1]) for row in rows})
            highest["pss"] = max(highest["pss"], sums["Pss:"])
            highest["held"] = max(highest["held"], sums["Pss_Anon:"] + sums["Pss_Shmem:"])
            time.sleep(0.05)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    return highest


def main() -> None:
    """Measure all and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", default=preset_names())
    parser.add_argument("--precision", nargs="+", default=["no", "bf16"])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--processes", nargs="+", type=int, help="whole runs by so many processes")
    parser.add_argument("--child", choices=WORKS)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.child:
        settings = settings_of(options.presets[0], options.precision[0], options.steps)
        print(json.dumps(measure(options.child, settings, options.folder)))
        return
    rows = []
    for preset in options.presets if options.processes else ():
        for row in run_rows(preset, options.processes, options.steps):
            rows.append(row)
            print(
                f"{preset:10} {row['work']:5} {row['processes']} processes {row['pss_bytes'] / 1e6:7.0f} MB of PSS "
                f"{row['held_bytes'] / 1e6:7.0f} MB held {row['predicted_bytes'] / 1e6:7.0f} MB predicted "
                f"{row['predicted_over_measured']:6.2f}",
                flush=True,
            )
    for precision in () if options.processes else options.precision:
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
    suffix = "-runs" if options.processes else ""
    path = RESULTS / f"memory-predictions-{datetime.now(UTC):%Y-%m-%d}{suffix}.json"
    path.write_text(json.dumps({**machine(), "rows": rows}, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
