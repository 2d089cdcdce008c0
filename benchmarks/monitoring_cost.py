"""What watching costs: speed of a training with everything on (queue, shim, status, metrics, a server and an open page)
over its speed with everything off (the bare loop, nothing written), in alternating pairs on the same machine.

`python -m benchmarks.monitoring_cost --pairs 4`. The page is open in real Chromium where there is one; its own work is
done on the same cores here, which is worse than in practice, where it is a person's laptop.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from core.config.load import load_config
from core.config.schema import Settings
from core.jobs.observed import observed_status
from core.jobs.service import start_training
from core.runs.metrics import read_metrics
from core.runs.store import RunStore

ROOT = Path(__file__).resolve().parents[1]
FIRST, LAST = 100, 400
BARE = """
import sys, time
from pathlib import Path
from core.config.load import read_frozen
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
settings = run.settings
train_vae.train(run, data_dir=Path(settings.paths.data), cache_dir=Path(settings.paths.cache),
                store_root=run.folder.parent, should_stop=lambda: False, on_step=on_step)
print((LAST - FIRST) / (marks[LAST] - marks[FIRST]))
"""


def settings_for(folder: Path, data: str) -> Settings:
    """The quick VAE; one save and one validation fall between the marks, in both modes."""
    return load_config(
        preset="quick",
        overrides={
            "data.name": data,
            "train_vae.steps": LAST,
            "logging.save_every_steps": 250,
            "logging.validate_every_steps": 250,
            "logging.num_previews": 0,
            "paths.runs": str(folder / "runs"),
            "paths.cache": str(folder / "cache"),
        },
    )


def bare(folder: Path, settings: Settings) -> float:
    """Steps a second of the loop alone, in a process of its own."""
    store = RunStore(folder / "bare")
    run = store.create("vae", settings)
    program = BARE.replace("FIRST", str(FIRST)).replace("LAST", str(LAST))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program, str(run.folder)], env=environment, capture_output=True,
                          text=True, check=True)  # fmt: skip
    return float(done.stdout.split()[-1])


def watched(folder: Path, settings: Settings, page: object) -> float:
    """Steps a second through the queue, with the server's page of the run open."""
    store = RunStore(folder / "runs")
    (run,) = start_training("vae", settings, store=store)
    if page is not None:
        page(run.id)  # type: ignore[operator]
    while observed_status(run).state.is_active:
        time.sleep(0.5)
    status = run.status()
    assert status.state == "finished", status.reason
    metrics = read_metrics(run.metrics_path)
    at = dict(zip(metrics["step"].astype(int), metrics["elapsed_s"], strict=True))
    return (LAST - FIRST) / (at[LAST] - at[FIRST])


@contextlib.contextmanager
def open_page(folder: Path) -> Iterator[object]:
    """A server and a page of Chromium; gives a function that shows a run, or None without Chromium."""
    chromium = shutil.which("chromium")
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "LAB_RUNS": str(folder / "runs"), "LAB_CACHE": str(folder / "cache")}
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(ROOT / "lab" / "Home.py"), "--server.headless", "true",
         "--server.port", str(port)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        if chromium is None:
            yield None
            return
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            time.sleep(3)
            yield lambda run_id: page.goto(f"http://127.0.0.1:{port}/runs?run={run_id}")
            browser.close()
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Measure pairs and write benchmarks/results/monitoring-cost-<date>.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    pairs = []
    with tempfile.TemporaryDirectory() as name, open_page(Path(name)) as page:
        folder = Path(name)
        settings = settings_for(folder, arguments.data)
        bare(folder, settings)  # the data set is prepared, the files are in memory
        for number in range(arguments.pairs):
            order = (True, False) if number % 2 else (False, True)
            speeds = {on: watched(folder, settings, page) if on else bare(folder, settings) for on in order}
            pairs.append({"on_steps_per_s": speeds[True], "off_steps_per_s": speeds[False],
                          "ratio": speeds[True] / speeds[False], "load": os.getloadavg()[0]})  # fmt: skip
            print(f"pair {number + 1}: on {speeds[True]:.1f}, off {speeds[False]:.1f} steps/s, "
                  f"ratio {pairs[-1]['ratio']:.3f}, load {pairs[-1]['load']:.1f}", flush=True)  # fmt: skip
        facts = json.loads((folder / "runs" / ".queue" / "supervisor.json").read_text())
        os.kill(facts["pid"], signal.SIGTERM)
        time.sleep(1)
    ratios = [pair["ratio"] for pair in pairs]
    result = {
        "benchmark": "monitoring_cost",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}",
        "page_open_in_chromium": page is not None,
        "steps": LAST - FIRST,
        "pairs": pairs,
        "median_ratio": statistics.median(ratios),
        "spread": [min(ratios), max(ratios)],
    }
    arguments.out.mkdir(exist_ok=True)
    path = arguments.out / f"monitoring-cost-{datetime.now(UTC):%Y%m%d-%H%M}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"median ratio {result['median_ratio']:.3f} ({min(ratios):.3f} to {max(ratios):.3f}); {path.name}")


if __name__ == "__main__":
    main()
