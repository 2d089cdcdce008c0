"""What the Runs page costs with many runs: `python -m benchmarks.many_runs OLD NEW [--runs 1000] [--rounds 3]`

OLD and NEW are checkouts, measured in turn on the same runs folder, of which three runs live. Per round, in a browser
that was there before: seconds to the title and until the page stands still, script until then; then, while the page is
only watched, bytes received, script and all work in the browser, and processor time of the server, each per second.
Medians of the rounds. Results: benchmarks/results/many-runs-<date>.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.monitor_scale import TABLE, cpu_s, living, make_runs
from benchmarks.page_visits import visit
from benchmarks.report import keep
from benchmarks.server import HOME, ROOT, SIZE, chromium, end_supervisor, served


def watched(context: Any, address: str, process: psutil.Process, seconds: float) -> dict[str, float]:
    """Figures per second of a page that is open and live."""
    page = context.new_page()
    page.set_default_timeout(180_000)
    received = 0

    def count(frame: str | bytes) -> None:
        nonlocal received
        received += len(frame)

    page.on("websocket", lambda socket: socket.on("framereceived", count))
    client = context.new_cdp_session(page)
    client.send("Performance.enable")

    def look() -> tuple[float, float, float]:
        found = {each["name"]: each["value"] for each in client.send("Performance.getMetrics")["metrics"]}
        return found["ScriptDuration"], found["TaskDuration"], cpu_s(process)

    page.goto(address)
    page.wait_for_selector(TABLE)
    page.wait_for_timeout(5000)
    before, received, begun = look(), 0, time.perf_counter()
    page.wait_for_timeout(1000 * seconds)
    taken = time.perf_counter() - begun
    script, work, server = (after - earlier for after, earlier in zip(look(), before, strict=True))
    page.close()
    totals = {"kilobytes": received / 1000, "script_ms": 1000 * script, "work_ms": 1000 * work}
    return {name: value / taken for name, value in {**totals, "server_ms": 1000 * server}.items()}


def round_of(checkout: Path, environment: dict[str, str], browser: Any, seconds: float) -> dict[str, float]:
    """One fresh server of a checkout; its Runs page is opened once before."""
    environment = {**environment, "PYTHONPATH": str(checkout)}
    with served(environment, checkout / HOME.relative_to(ROOT)) as server:
        context = browser.new_context(viewport=SIZE)
        address = f"{server.address}/runs"
        visit(context, address)
        found = visit(context, address)
        found |= watched(context, address, psutil.Process(server.process.pid), seconds)
        context.close()
    return found


def main() -> None:
    """Measure in turn, print and keep the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs=2, type=Path, metavar="CHECKOUT", help="the older one first")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=10_000, help="logged lines per run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the open page is watched")
    options = parser.parse_args()
    old, new = (each.resolve() for each in options.checkouts)
    rounds: dict[Path, list[dict[str, float]]] = {old: [], new: []}
    with tempfile.TemporaryDirectory(prefix="many-runs-") as name:
        folder = Path(name)
        root = folder / "runs"
        environment = {**os.environ, "LAB_RUNS": str(root), "LAB_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        live = make_runs(root, options.runs, options.lines)
        with living(root, live, options.lines), chromium() as browser:
            for _ in range(options.rounds):
                for checkout, found in rounds.items():
                    found.append(round_of(checkout, environment, browser, options.seconds))
                    print(checkout, found[-1], flush=True)
            end_supervisor(root)
    medians = {
        figure: [round(statistics.median(one[figure] for one in rounds[each]), 2) for each in (old, new)]
        for figure in rounds[new][0]
    }
    keep("many-runs", {"runs": options.runs, "rounds": options.rounds, "old_and_new": medians})


if __name__ == "__main__":
    main()
