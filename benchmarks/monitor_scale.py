"""How the screens carry many runs: 500 finished ones of 100,000 logged steps, and three live.

`python -m benchmarks.monitor_scale`
Makes the runs (the finished ones share one metrics.jsonl, one preview and one log by hard links, which spares the disk
and the page cache but none of the reading), keeps three alive from a process of its own, starts the real server and
measures: how long the runs page takes in Chromium until its table is drawn; the time of the functions behind a tick,
in a process of its own; and the processor time of the server per tick, with one tab and with ten.
Results: benchmarks/results/monitor-scale-<date>.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.report import RESULTS, processor
from benchmarks.server import IDLE, SIZE, chromium, end_supervisor, served
from core.config.load import load_config
from core.machine.processes import own_identity
from core.runs.lock import try_lock
from core.runs.metrics import MetricsWriter
from core.runs.run import Run, RunState
from core.runs.store import RunStore, lock_path

ROOT = Path(__file__).resolve().parents[1]
LIVE, LOG_EVERY_STEPS, PICTURES = 3, 10, 10
TABLE = '.link-table[data-rows], [data-testid="stDataFrame"] canvas'
CHART = ".js-plotly-plot .main-svg, .lab-chart svg"


def metrics_line(index: int, noise: float) -> dict[str, Any]:
    """What training logs at a step: a falling loss with noise, now and then a held-out one."""
    step = (index + 1) * LOG_EVERY_STEPS
    loss = (0.05 + 1.0 / (1 + index / 300)) * math.exp(0.1 * noise)
    line = {
        "step": step,
        "images_seen": step * 64,
        "elapsed_s": round(step * 0.0131, 3),
        "loss": loss,
        "learning_rate": 1e-3,
        "grad_norm": 0.5 + 0.1 * noise,
        "images_per_s": 4885.5 + 100 * noise,
    }
    return line if index % 50 else {**line, "val_loss": loss * 1.05}


def make_runs(root: Path, finished: int, lines: int) -> list[Run]:
    """The runs folder; returns the runs that are to live. The finished runs were made a minute after each other."""
    store = RunStore(root)
    settings = load_config(overrides={"data.name": "digits", "train_unet.steps": 2 * lines * LOG_EVERY_STEPS})
    noise = np.random.default_rng(0).normal(size=lines)
    text = "".join(json.dumps(metrics_line(index, float(noise[index]))) + "\n" for index in range(lines))
    pictures = np.random.default_rng(1).integers(0, 256, (PICTURES, 32, 32, 1), dtype=np.uint8)
    first: Run | None = None
    live = []
    for place in range(finished + LIVE):
        run = store.create("unet", settings, name=f"Sweep {place:03d}", owner=("ana", "bea", "cem")[place % 3])
        values = json.loads((run.folder / "run.json").read_text())
        values["created_at"] = (datetime.now(UTC) - timedelta(minutes=finished - place)).isoformat()
        (run.folder / "run.json").write_text(json.dumps(values))
        done = place < finished
        step = lines * LOG_EVERY_STEPS
        run.write_status(
            replace(
                run.status(),
                state=RunState.FINISHED if done else RunState.RUNNING,
                step=step,
                steps_total=step * (1 if done else 2),
                elapsed_s=step * 0.0131,
                device="CPU, 1 thread",
            )
        )
        for name in ("metrics.jsonl", "log.txt", "previews/step-00000000.npz", f"previews/step-{step:08d}.npz"):
            path = run.folder / name
            path.parent.mkdir(exist_ok=True)
            if first is not None and done:
                os.link(first.folder / name, path)
            elif name.endswith("npz"):
                np.savez_compressed(path, step=np.int64(step if "00000000" not in name else 0), images=pictures)
            else:
                path.write_text(text if name == "metrics.jsonl" else "step 10 loss 0.31\n" * 5000)
        first = first or run
        if not done:
            live.append(run)
    return live


def keep_alive(root: Path, ids: list[str], lines: int) -> None:
    """What three trainings write, twice a second each: status, a line of metrics; until this process is killed."""
    runs = [Run(root / run_id) for run_id in ids]
    locks = [try_lock(lock_path(run)) for run in runs]
    assert all(locks)
    writers = [MetricsWriter(run.metrics_path) for run in runs]
    started, index = time.time(), lines
    while True:
        for run, writer in zip(runs, writers, strict=True):
            writer.append(metrics_line(index, float(np.sin(index))))
            run.write_status(
                replace(
                    run.status(),
                    state=RunState.RUNNING,
                    step=(index + 1) * LOG_EVERY_STEPS,
                    stage="training",
                    images_per_s=4885.5,
                    eta_s=3600.0,
                    elapsed_s=time.time() - started,
                    process=own_identity(),
                )
            )
        index += 1
        time.sleep(0.5)


@contextlib.contextmanager
def living(root: Path, live: list[Run], lines: int) -> Iterator[None]:
    """A process that keeps the live runs alive."""
    arguments = ["--keep-alive", str(root), str(lines), *(run.id for run in live)]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.monitor_scale", *arguments], cwd=ROOT)
    try:
        while not all(run.status().process for run in live):
            if process.poll() is not None:
                raise SystemExit("the process that keeps the live runs alive has ended")
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


def cpu_s(process: psutil.Process) -> float:
    """Processor seconds of the server so far; what it started (the supervisor) is not counted."""
    times = process.cpu_times()
    return float(times.user + times.system)


def spread(seconds: list[float]) -> dict[str, Any]:
    """Median and all of them."""
    return {"median": round(statistics.median(seconds), 2), "all": [round(value, 2) for value in seconds]}


def opened(browser: Any, address: str, wait_for: str) -> tuple[Any, float]:
    """A browser with a new profile, or a context that has one, opens a page; seconds until what it waits for stands."""
    page = browser.new_page(viewport=SIZE) if hasattr(browser, "new_context") else browser.new_page()
    page.set_default_timeout(120_000)
    started = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(wait_for)
    ready_s = time.perf_counter() - started
    return page, ready_s


def visits(browser: Any, address: str, times: int = 7) -> list[float]:
    """A browser that has been there before opens a page with a table again and again."""
    context = browser.new_context(viewport=SIZE)
    taken = []
    for _ in range(times + 1):
        page, ready_s = opened(context, address, TABLE)
        taken.append(ready_s)
        page.close()
    context.close()
    return taken[1:]


def switched(browser: Any, address: str, times: int = 7) -> list[float]:
    """Seconds from a click on 'Runs' in the navigation until the table is drawn."""
    page, _ = opened(browser, f"{address}/train", "h1")
    taken = []
    for _ in range(times):
        page.wait_for_selector(IDLE)
        started = time.perf_counter()
        page.get_by_role("link", name="Runs", exact=True).click()
        page.wait_for_selector(TABLE)
        taken.append(time.perf_counter() - started)
        page.get_by_role("link", name="Train", exact=True).click()
        page.wait_for_selector(TABLE, state="detached")
    page.close()
    return taken


def floor(browser: Any, environment: dict[str, str], folder: Path) -> list[float]:
    """The same for a page that is nothing but a table of 50 numbers: what Streamlit and this browser take anyway."""
    script = folder / "floor.py"
    script.write_text("import pandas as pd\nimport streamlit as st\nst.dataframe(pd.DataFrame({'a': range(50)}))\n")
    with served({**environment, "LAB_RUNS": str(folder / "none")}, script) as server:
        return visits(browser, server.address)


def share_over(process: psutil.Process, seconds: float) -> dict[str, float]:
    """The server's share of a core over a while, and what the whole machine did meanwhile."""
    psutil.cpu_percent()
    before, started = cpu_s(process), time.perf_counter()
    time.sleep(seconds)
    took = time.perf_counter() - started
    return {
        "seconds": round(took, 1),
        "cores": round((cpu_s(process) - before) / took, 3),
        "machine_busy": round(psutil.cpu_percent() / 100, 2),
    }


def in_chromium(live: list[Run], environment: dict[str, str], folder: Path, seconds: float) -> dict[str, Any]:
    """Page times and server load, with real tabs."""
    found: dict[str, Any] = {}
    with served(environment) as server, chromium() as browser:
        address, process = server.address, psutil.Process(server.process.pid)
        page, first_s = opened(browser, f"{address}/runs", TABLE)
        page.context.close()
        new_profile = []
        for _ in range(5):
            page, ready_s = opened(browser, f"{address}/runs", TABLE)
            new_profile.append(ready_s)
            page.context.close()
        again = visits(browser, f"{address}/runs")
        found["runs_page_s"] = {
            "first_after_server_start": round(first_s, 2),
            "new_browser_profile": spread(new_profile),
            "browser_that_was_here_before": spread(again),
            "from_another_page": spread(switched(browser, address)),
            "floor": spread(floor(browser, environment, folder)),
        }
        found["idle_server"] = share_over(process, min(seconds, 10))
        page, ready_s = opened(browser, f"{address}/runs?run={live[0].id}", CHART)
        found["live_run_page_s"] = round(ready_s, 2)
        page.wait_for_selector(IDLE)
        time.sleep(5)
        found["one_tab_on_a_live_run"] = share_over(process, seconds)
        for run in live[1:]:
            opened(browser, f"{address}/runs?run={run.id}", CHART)
        for _ in range(4):
            opened(browser, f"{address}/runs", TABLE)
        opened(browser, f"{address}/overview", "h1")
        opened(browser, f"{address}/machine", "h1")
        opened(browser, f"{address}/compare?runs={','.join(run.id for run in live)}", CHART)
        time.sleep(10)
        found["ten_tabs"] = share_over(process, 2 * seconds)
        found["ten_tabs"]["tabs"] = "3 live runs, 4 runs pages, overview, machine, 3 runs overlaid"  # type: ignore[assignment]
        found["server_memory_mb"] = round(process.memory_info().rss / 1e6)
    return found


def timed(action: Callable[[], object], times: int) -> dict[str, float]:
    """Wall-clock and processor milliseconds of one call: median and worst."""
    wall, cpu = [], []
    for _ in range(times):
        started, started_cpu = time.perf_counter(), time.thread_time()
        action()
        wall.append(1000 * (time.perf_counter() - started))
        cpu.append(1000 * (time.thread_time() - started_cpu))
    return {
        "median_ms": round(statistics.median(wall), 2),
        "worst_ms": round(max(wall), 2),
        "median_cpu_ms": round(statistics.median(cpu), 2),
    }


def in_process(live: list[Run], lines: int) -> dict[str, Any]:
    """The functions behind the ticks, called as a page calls them, in this process."""
    from streamlit.testing.v1 import AppTest

    from lab.services import runs

    found = {"list_first": timed(runs.list_views, 1)}

    def listed_anew() -> None:
        time.sleep(1.01)
        started.append(time.perf_counter())
        runs.list_views()
        ended.append(time.perf_counter())

    started: list[float] = []
    ended: list[float] = []
    for _ in range(10):
        listed_anew()
    anew = [1000 * (end - start) for start, end in zip(started, ended, strict=True)]
    found["list_once_a_second"] = {"median_ms": round(statistics.median(anew), 2), "worst_ms": round(max(anew), 2)}
    found["list_within_the_second"] = timed(runs.list_views, 50)
    found["one_run"] = timed(lambda: runs.view_of(live[0].id), 50)
    found["curves_first_read"] = timed(lambda: runs.curves(live[0]), 1)
    found["curves_unchanged"] = timed(lambda: runs.curves(live[0]), 50)
    known = f"run_detail._signature(run_detail.runs.view_of({live[0].id!r}))"
    for name, call in {
        "curves_tick": f"run_curves.run_curves({live[0].id!r})",
        "overlay_tick": f"overlay._drawn({[run.id for run in live]!r}, True)",
        "head_tick": f"run_detail._head({live[0].id!r}, {known})",
        "runs_table_tick": "runs_table.runs_table()",
        "notices_tick": "notices.notices()",
    }.items():
        found[name] = tick_of(AppTest, call)
    return found


def tick_of(app_test: Any, call: str, times: int = 15) -> dict[str, float]:
    """One drawing of a fragment by a script run of Streamlit, timed inside the script; the first two are left out."""
    module = call.partition(".")[0]
    package = "lab.frame" if module == "notices" else "lab.runs"
    source = f"""import time
import streamlit as st
from {package} import {module}
wall, cpu = time.perf_counter(), time.thread_time()
{call}
st.session_state.setdefault("took", []).append((time.perf_counter() - wall, time.thread_time() - cpu))"""
    app = app_test.from_string(source, default_timeout=120)
    app.user = {}
    for _ in range(times + 2):
        app.run()
        assert not app.exception, app.exception
        time.sleep(0.6)  # new lines arrive meanwhile
    took = app.session_state["took"][2:]
    wall, cpu = ([1000 * pair[place] for pair in took] for place in (0, 1))
    return {
        "median_ms": round(statistics.median(wall), 2),
        "worst_ms": round(max(wall), 2),
        "median_cpu_ms": round(statistics.median(cpu), 2),
    }


def verdicts(found: dict[str, Any]) -> dict[str, bool]:
    """What is asked for, each way of reading it with its own answer."""
    ticks = [values for name, values in found["in_process"].items() if name.endswith("_tick")]
    page = found["chromium"]["runs_page_s"]
    visits = {
        name: page[name]["median"]
        for name in ("new_browser_profile", "browser_that_was_here_before", "from_another_page")
    }
    return {
        **{f"runs page ready in under 1.5 s, {name}": median < 1.5 for name, median in visits.items()},
        "every tick under 50 ms, median processor time": max(values["median_cpu_ms"] for values in ticks) < 50,
        "every tick under 50 ms, worst wall clock": max(values["worst_ms"] for values in ticks) < 50,
        "ten tabs under half a core": found["chromium"]["ten_tabs"]["cores"] < 0.5,
    }


def main() -> None:
    """Measure and print; the figures also go into benchmarks/results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=500, help="finished runs")
    parser.add_argument("--lines", type=int, default=100_000, help="logged steps of each")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the server's load is measured")
    parser.add_argument("--dry", action="store_true", help="write no result file")
    parser.add_argument("--keep-alive", nargs="+", help=argparse.SUPPRESS)  # how this program starts its helper
    options = parser.parse_args()
    if options.keep_alive:
        root, lines, *ids = options.keep_alive
        keep_alive(Path(root), ids, int(lines))
    with tempfile.TemporaryDirectory(prefix="monitor-scale-") as name:
        folder = Path(name)
        root = folder / "runs"
        environment = {**os.environ, "LAB_RUNS": str(root), "LAB_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        os.environ.update({key: environment[key] for key in ("LAB_RUNS", "LAB_CACHE", "OMP_NUM_THREADS")})
        made_s = time.perf_counter()
        live = make_runs(root, options.runs, options.lines)
        print(f"{options.runs} + {LIVE} runs made in {time.perf_counter() - made_s:.0f} s", flush=True)
        load_before = os.getloadavg()[0]
        with living(root, live, options.lines):
            found: dict[str, Any] = {"in_process": in_process(live, options.lines)}
            print(json.dumps(found, indent=1), flush=True)
            found["chromium"] = in_chromium(live, environment, folder, options.seconds)
            end_supervisor(root)
    result = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "processor": processor(),
            "load_before": round(load_before, 2),
            "load_after": round(os.getloadavg()[0], 2),
        },
        "runs": options.runs,
        "lines": options.lines,
        "live": LIVE,
        "hard_links": "the finished runs share one metrics.jsonl, preview and log",
        **found,
    }
    result["met"] = verdicts(result)
    print(json.dumps(result, indent=1))
    if not options.dry:
        path = RESULTS / f"monitor-scale-{result['date']}.json"
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
