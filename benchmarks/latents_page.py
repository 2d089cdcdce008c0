"""The Latents page on a VAE that nobody looked at before: opening, all 10,000 pictures, every change, memory.

`python -m benchmarks.latents_page [--run RUN] [--repeats 5]`
Takes the newest VAE run of LAB_RUNS (trained on MNIST for 10,000 held-out pictures) and reads its data set from
LAB_DATA; works in a cache of its own, so that nothing is known of the VAE. The arrays of the data set are made first,
as its training has made them. Four parts:

1. a fresh server and a fresh Chromium open the page: seconds to the title, to the first verdict, to the figures of all
   pictures; then, both warm, weights that nobody looked at; what is kept, in a new window and again; a new
   server that has only what the cache keeps;
2. the views one after the other, each for the first time, the encoding included;
3. the largest resident memory of the server and of the process that computes for it;
4. the server's time for each change on the page, in Streamlit's own test harness in this process: what it costs the
   first time, where it is computed, and the median and worst of `repeats` times after that.

Results: benchmarks/results/latents-page-<date>.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Browser, Page
from streamlit.testing.v1 import AppTest

from benchmarks.page_times import LIMIT_MS, among, group
from benchmarks.report import RESULTS
from benchmarks.server import HOME, IDLE, chromium, served, window
from core.config.load import read_site
from core.data.arrays import prepare
from core.runs.listing import list_checkpoints
from core.runs.run import Run
from core.runs.store import RunStore

OPENS_WITHIN_S = 3.0
MOST_MB = 350.0  # of the server
VIEWS = ("Pictures", "Channels", "Map", "Decoder", "Ceiling", "Compare")


class Memory:
    """The largest resident memory of a process and, apart, of its children, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self.server_mb = self.child_mb = 0.0
        self._process, self._ended = psutil.Process(pid), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more looks."""
        self._ended.set()
        self._thread.join(5)

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            with contextlib.suppress(psutil.Error):
                self.server_mb = max(self.server_mb, self._process.memory_info().rss / 1e6)
                for child in self._process.children(recursive=True):
                    self.child_mb = max(self.child_mb, child.memory_info().rss / 1e6)


def opened(page: Page, address: str) -> dict[str, float]:
    """Seconds from the click on a link to the title, and to the verdict with its three numbers."""
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector("h1")
    title = time.perf_counter() - began
    page.locator('[data-testid="stMetric"]').nth(2).wait_for()
    return {"title_s": title, "verdict_s": time.perf_counter() - began}


def opening(browser: Browser, run: Run, environment: dict[str, str], repeats: int) -> dict[str, Any]:
    """Parts 1, 2 and 3."""
    link = f"?run={run.id}"
    found: dict[str, Any] = {}
    with served(environment) as server:
        address = f"{server.address}/latents"
        memory = Memory(server.process.pid)
        with window(browser) as page:
            began = time.perf_counter()
            found["cold"] = opened(page, address + link)
            found["cold"]["measured_on"] = measured_on(page)
            page.get_by_text("The rest continues").wait_for(state="detached")
            found["cold"]["all_pictures_s"] = time.perf_counter() - began
            found["other_weights_never_seen"] = opened(page, f"{address}{link}&checkpoint={raw_of(run)}")
            page.get_by_text("The rest continues").first.wait_for()
            page.get_by_text("The rest continues").wait_for(state="detached")
        times = []
        with window(browser) as page:
            for _ in range(1 + repeats):
                times.append(opened(page, address + link)["verdict_s"])
        found["new_window_verdict_s"] = times.pop(0)
        found["warm_verdict_s"] = {"median": statistics.median(times), "worst": max(times)}
        found["first_view_s"] = {}
        for view in VIEWS:
            with window(browser) as page:
                began = time.perf_counter()
                opened(page, f"{address}{link}&view={view}")
                page.wait_for_selector(IDLE)
                found["first_view_s"][view] = time.perf_counter() - began
        memory.stop()
        found["memory_mb"] = {"server": memory.server_mb, "process_that_computes": memory.child_mb}
    with served(environment) as server, window(browser) as page:
        found["new_server_verdict_s"] = opened(page, f"{server.address}/latents{link}")["verdict_s"]
    return found


def raw_of(run: Run) -> str:
    """The newest checkpoint's raw weights, as the link has them: a VAE that nobody looked at either."""
    return f"{list_checkpoints(run)[-1].step}-raw"


def measured_on(page: Page) -> str:
    """What the page says of its first figures."""
    text = page.get_by_text("The rest continues").inner_text()
    return text.split(". ")[0]


@dataclass(frozen=True, kw_only=True)
class Change:
    """Something that somebody changes on a view: `make(app, n)` sets the n-th value without running the page."""

    view: str
    what: str
    make: Callable[[AppTest, int], None]
    values: int = 2


def points(app: AppTest, n: int) -> None:
    """Pick another picture, never picked before."""
    app.query_params["points"] = f"{17 + 3 * n}-{400 + 7 * n}"


def changes_of(run: Run) -> list[Change]:
    """Every tab, choice and slider of the page that goes to the server."""
    names = [f"{info.step}{raw}" for info in list_checkpoints(run) for raw in ("", "-raw")]
    return [
        Change(
            view="Pictures",
            what="another view",
            values=len(VIEWS),
            make=lambda app, n: group(app, "view").set_value(among([*VIEWS[1:], VIEWS[0]], n)),
        ),
        Change(
            view="Pictures",
            what="another class",
            values=10,
            make=lambda app, n: app.selectbox(key="worst-class").set_value(n % 11),
        ),
        Change(
            view="Pictures",
            what="another checkpoint",
            values=len(names),
            make=lambda app, n: app.query_params.__setitem__("checkpoint", among(names, n)),
        ),
        Change(
            view="Channels",
            what="raw, or as the U-Net gets them",
            make=lambda app, n: group(app, "latents-as").set_value(among(["raw", "scaled"], n)),
        ),
        Change(
            view="Map",
            what="t-SNE, or principal components",
            make=lambda app, n: group(app, "map").set_value(among(["tsne", "pca"], n)),
        ),
        Change(
            view="Map",
            what="in space, or flat",
            make=lambda app, n: group(app, "map-in").set_value(among(["3-D", "2-D"], n)),
        ),
        Change(
            view="Map",
            what="another number of pictures",
            values=3,
            make=lambda app, n: group(app, "map-of").set_value(among(["2000", "500", "1000"], n)),
        ),
        Change(
            view="Map",
            what="another picture picked, never seen: walks, neighbours, traversal",
            values=1000,
            make=points,
        ),
        Change(
            view="Map",
            what="along channels, or principal directions",
            make=lambda app, n: group(app, "along").set_value(among(["directions", "channels"], n)),
        ),
        Change(
            view="Decoder",
            what="another noise schedule",
            values=5,
            make=lambda app, n: app.query_params.__setitem__(
                "schedule", among(["cosine", "linear", "scaled_linear", "sigmoid", "own"], n)
            ),
        ),
        Change(
            view="Ceiling",
            what="another number of pictures",
            make=lambda app, n: app.selectbox(key="ceiling-pictures").set_value(among([10_000, 1000], n)),
        ),
        Change(
            view="Compare",
            what="another VAE beside it",
            values=len(names),
            make=lambda app, n: app.query_params.update({"other": run.id, "other-checkpoint": among(names, n)}),
        ),
    ]


def measure(run: Run, change: Change, repeats: int) -> dict[str, Any]:
    """Milliseconds of a change: the longest of the first times, then of those when everything was seen once."""
    app = AppTest.from_file(str(HOME), default_timeout=120)
    app.switch_page("../pages/latents.py")
    app.query_params["run"], app.query_params["view"] = run.id, change.view
    app.run()
    first, again = [], []
    never_twice = change.values > 100
    for n in range(1 + repeats if never_twice else change.values + repeats):
        change.make(app, n)
        began = time.perf_counter()
        app.run()
        (first if n < (1 if never_twice else change.values) else again).append(1000 * (time.perf_counter() - began))
        if app.exception or app.error:
            words = (app.exception or app.error)[0].value
            raise RuntimeError(f"{change.view}, {change.what}: {words}")
    return {
        "view": change.view,
        "change": change.what,
        "first_worst_ms": round(max(first), 1),
        "median_ms": round(statistics.median(again), 1),
        "worst_ms": round(max(again), 1),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", default="", help="a VAE run's id (default: the newest)")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    logging.getLogger("streamlit").setLevel(logging.ERROR)  # bare mode: it would warn once a page
    store = RunStore(Path(os.environ.get("LAB_RUNS", HOME.parents[1] / "runs")))
    runs = [each for each in store.list() if each.info.kind == "vae" and list_checkpoints(each)]
    run = store.get(arguments.run) if arguments.run else runs[0]
    with tempfile.TemporaryDirectory() as cache:
        os.environ |= {"LAB_CACHE": cache, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        began = time.perf_counter()
        images = prepare(run.settings.data, data_dir=read_site()[0].data, cache_dir=Path(cache))
        facts: dict[str, Any] = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "hardware": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
            "threads": os.environ["OMP_NUM_THREADS"],
            "load_at_the_beginning": os.getloadavg()[0],
            "data_set": run.settings.data.name,
            "held_out": len(images.heldout.labels),
            "vae": run.settings.vae.model_dump(mode="json"),
            "limits": {"verdict_s": OPENS_WITHIN_S, "change_ms": LIMIT_MS, "memory_mb": MOST_MB},
            "arrays_s": time.perf_counter() - began,
            "repeats": arguments.repeats,
        }
        with chromium() as browser:
            facts |= opening(browser, run, dict(os.environ), arguments.repeats)
        print(
            json.dumps(
                {
                    key: facts[key]
                    for key in (
                        "cold",
                        "other_weights_never_seen",
                        "new_window_verdict_s",
                        "warm_verdict_s",
                        "new_server_verdict_s",
                        "memory_mb",
                    )
                }
            )
        )
        facts["changes"] = []
        for change in changes_of(run):
            row = measure(run, change, arguments.repeats)
            facts["changes"].append(row)
            over = "" if row["worst_ms"] < LIMIT_MS else "  over the limit"
            print(
                f"{row['view']:9} {row['change']:66} first {row['first_worst_ms']:8.0f} ms  "
                f"then {row['median_ms']:6.0f} ms, worst {row['worst_ms']:6.0f} ms{over}",
                flush=True,
            )
    facts["load_at_the_end"] = os.getloadavg()[0]
    path = RESULTS / f"latents-page-{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(rounded(facts), indent=1) + "\n")
    print(f"written to benchmarks/results/{path.name}")


def rounded(value: Any) -> Any:
    """Two decimals everywhere."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return round(value, 2) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
