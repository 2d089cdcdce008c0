"""What watching costs: speed of a training with monitoring on over its speed with everything off, round after round.

`python -m benchmarks.monitoring_cost --rounds 4`. Three ways in a changing order: off (the bare loop, nothing
written), recorded (queue, shim, status, metrics, a server beside it), and watched (the same, and its page is open in
real Chromium). Chromium draws on the training's own cores here; in practice it draws on a person's laptop.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.server import CHROMIUM, chromium, end_supervisor, served, window
from core.config.load import load_config
from core.config.schema import Settings
from core.jobs.engines.choose import observed_status
from core.jobs.service import start_training
from core.runs.metrics import read_metrics
from core.runs.store import RunStore

ROOT = Path(__file__).resolve().parents[1]
Show = Callable[[str], object]
FIRST, LAST = 100, 400
BARE = """
import sys, time
from pathlib import Path
from core.config.load import read_site
from core.runs.metrics import MetricsWriter
from core.runs.run import Run
from core.training import train_vae
from core.training.start import StatusKeeper
StatusKeeper.write = lambda self, *a, **k: None
MetricsWriter.append = lambda self, record: None
marks = {}
run = Run(Path(sys.argv[1]))
def on_step(result):
    if result.step in (FIRST, LAST):
        marks[result.step] = time.monotonic()
site, _ = read_site()
train_vae.train(run, data_dir=site.data, cache_dir=site.cache,
                store_root=run.folder.parent, should_stop=lambda: False, on_step=on_step)
print((LAST - FIRST) / (marks[LAST] - marks[FIRST]))
"""


def settings_for(data: str) -> Settings:
    """The quick VAE; one save and one validation fall between the marks, in both modes."""
    return load_config(
        preset="quick",
        overrides={
            "data.name": data,
            "train_vae.steps": LAST,
            "logging.save_every_steps": 250,
            "logging.validate_every_steps": 250,
            "logging.num_previews": 0,
        },
    )


def bare(folder: Path, settings: Settings) -> float:
    """Steps a second of the loop alone, in a process of its own."""
    store = RunStore(folder / "bare")
    run = store.create("vae", settings)
    program = BARE.replace("FIRST", str(FIRST)).replace("LAST", str(LAST))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(run.folder)], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def monitored(folder: Path, settings: Settings, show: Show | None) -> float:
    """Steps a second through the queue; show(run id) opens its page when given."""
    store = RunStore(folder / "runs")
    (run,) = start_training("vae", settings, store=store)
    if show is not None:
        show(run.id)
    while observed_status(run).state.is_active:
        time.sleep(0.5)
    if show is not None:
        show("")
    status = run.status()
    assert status.state == "finished", status.reason
    metrics = read_metrics(run.metrics_path)
    at = dict(zip(metrics["step"].astype(int), metrics["elapsed_s"], strict=True))
    return (LAST - FIRST) / (at[LAST] - at[FIRST])


@contextlib.contextmanager
def open_page(folder: Path) -> Iterator[Show | None]:
    """A server and a tab of Chromium; gives what shows a run ('' shows nothing), or None without Chromium."""
    environment = {**os.environ, "LAB_RUNS": str(folder / "runs"), "LAB_CACHE": str(folder / "cache")}
    with served(environment) as server:
        if CHROMIUM is None:
            yield None
            return
        with chromium() as browser, window(browser) as page:
            yield lambda run_id: page.goto(f"{server.address}/runs?run={run_id}" if run_id else "about:blank")


def main() -> None:
    """Measure rounds and write benchmarks/results/monitoring-cost-<date>.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name, open_page(Path(name)) as show:
        folder = Path(name)
        os.environ |= {"LAB_RUNS": str(folder / "runs"), "LAB_CACHE": str(folder / "cache")}
        settings = settings_for(arguments.data)
        ways: dict[str, Callable[[], float]] = {
            "off": lambda: bare(folder, settings),
            "recorded": lambda: monitored(folder, settings, None),
        }
        if show is not None:
            ways["watched"] = lambda: monitored(folder, settings, show)
        bare(folder, settings)  # the data set is prepared, the files are in memory
        for number in range(arguments.rounds):
            first = number % len(ways)
            order = [*list(ways)[first:], *list(ways)[:first]]
            speeds = {way: ways[way]() for way in order}
            rounds.append({way: speeds[way] for way in ways} | {"load": os.getloadavg()[0]})
            ratios = ", ".join(f"{way} {speeds[way] / speeds['off']:.3f}" for way in ways if way != "off")
            print(
                f"round {number + 1}: off {speeds['off']:.2f} steps/s, {ratios}, load {rounds[-1]['load']:.1f}",
                flush=True,
            )
        end_supervisor(folder / "runs")
    summary = {}
    for way in ways:
        if way != "off":
            ratios_of = [speeds[way] / speeds["off"] for speeds in rounds]
            summary[way] = {"median_ratio": statistics.median(ratios_of), "spread": [min(ratios_of), max(ratios_of)]}
    result = {
        "benchmark": "monitoring_cost",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}",
        "steps": LAST - FIRST,
        "rounds": rounds,
        "summary": summary,
    }
    arguments.out.mkdir(exist_ok=True)
    path = arguments.out / f"monitoring-cost-{datetime.now(UTC):%Y%m%d-%H%M}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    for way, found in summary.items():
        low, high = found["spread"]
        print(f"{way}: median ratio {found['median_ratio']:.3f} ({low:.3f} to {high:.3f})")
    print(path.name)


if __name__ == "__main__":
    main()
