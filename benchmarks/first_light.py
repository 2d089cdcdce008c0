"""From nothing to digits: train both networks, draw 100 of each class, and measure. `python -m benchmarks.first_light`

Everything goes through the command line, as a person would use it. CPU-seconds are user + system of the training
process. Results: benchmarks/results/first_light-<date>-<device>.json, and a sample grid beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.report import RESULTS, processor

ROOT = Path(__file__).resolve().parents[1]


def command(arguments: list[str], environment: dict[str, str]) -> tuple[str, float, float]:
    """Run `python -m core …`; its output, wall-clock seconds and CPU-seconds."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "core", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, time.monotonic() - started, cpu


def newest_report(run: Path) -> dict[str, Any]:
    """The evaluation that was just written."""
    newest = max((run / "evaluations").glob("*.json"), key=lambda path: path.stat().st_mtime)
    report: dict[str, Any] = json.loads(newest.read_text())
    return report


def one_seed(seed: int, options: argparse.Namespace, environment: dict[str, str], work: Path) -> dict[str, Any]:
    """Train, sample and evaluate with one seed."""
    changes = [item for text in [f"seed={seed}", *options.set] for item in ("--set", text)]
    output, wall_s, cpu_s = command(["train", "all", "--preset", options.preset, *changes], environment)
    unet = output.split()[1]
    folder = Path(environment["LAB_RUNS"]) / unet
    out = work / f"samples-{seed}"
    _, sample_wall_s, _ = command(
        ["sample", unet, "--labels", "0-9", "--per-label", "100", "--out", str(out)], environment
    )
    rows = []
    for guidance in options.guidance:
        for number in (1000, options.samples) if guidance == options.guidance[0] else (options.samples,):
            command(
                ["evaluate", unet, "--samples", str(number), "--set", f"sampling.guidance_scale={guidance}"],
                environment,
            )
            report = newest_report(folder)
            report.pop("per_class")
            rows.append(report)
            print(
                f"seed {seed} guidance {guidance} N {number}: accuracy {report['class_accuracy']:.4f} FD-judge "
                f"{report['fd_judge']:.3f} (floor {report['fd_floor']:.3f}) recall {report['recall']:.3f}",
                flush=True,
            )
    print(f"seed {seed}: training {wall_s:.0f} s wall-clock, {cpu_s:.0f} CPU-seconds", flush=True)
    return {
        "seed": seed,
        "train_wall_s": round(wall_s, 1),
        "train_cpu_s": round(cpu_s, 1),
        "sample_1000_wall_s": round(sample_wall_s, 1),
        "status": json.loads((folder / "status.json").read_text()),
        "evaluations": rows,
        "grid": str(out / "grid.png"),
    }


def keep(seeds: list[dict[str, Any]], options: argparse.Namespace) -> Path:
    """Write what is measured so far, and the first seed's sample grid."""
    device = seeds[0]["status"]["device"]
    name = f"first_light-{datetime.now(UTC):%Y-%m-%d}-{'gpu' if 'cuda' in device else 'cpu'}{options.label}"
    RESULTS.mkdir(exist_ok=True)
    shutil.copy(seeds[0]["grid"], RESULTS / f"{name}.png")
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "device": device,
        "preset": options.preset,
        "changes": options.set,
        "seeds": [{key: value for key, value in seed.items() if key not in ("grid", "status")} for seed in seeds],
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def main() -> None:
    """Measure and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.5])
    parser.add_argument("--samples", type=int, default=5000, help="pictures of the larger evaluation")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--keep", type=Path, help="keep runs and cache in this folder")
    parser.add_argument("--label", default="", help="added to the names of the result files")
    options = parser.parse_args()
    work = options.keep or Path(tempfile.mkdtemp(prefix="first-light-"))
    environment = {**os.environ, "LAB_RUNS": str(work / "runs"), "LAB_CACHE": str(work / "cache")}
    try:
        seeds: list[dict[str, Any]] = []
        for seed in options.seeds:
            seeds.append(one_seed(seed, options, environment, work))
            print(f"kept in {keep(seeds, options)}", flush=True)
    finally:
        if options.keep is None:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
