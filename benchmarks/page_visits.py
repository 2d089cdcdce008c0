"""What a visit to each page costs in real Chromium: `python -m benchmarks.page_visits OLD NEW`

OLD and NEW are checkouts, measured in turn. In every round each serves the same kinds of labs (one finished run, one
live run), and each page is opened in a browser that has seen the lab before. Per page: seconds to its title and until
it stands still, and seconds of script and of all work in the browser until then, from Chromium's performance metrics.
Medians of the rounds. Results: benchmarks/results/page-visits-<date>.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.report import keep
from benchmarks.server import IDLE, PATIENCE_MS, SIZE, chromium
from benchmarks.states import lab_in

FIGURES = ("title_s", "settled_s", "script_s", "work_s")
STILL = """async (idle) => {
  let last = -1, still = 0
  const since = performance.now()
  while (still < 10 && performance.now() - since < 20000) {
    await new Promise((done) => setTimeout(done, 50))
    const now = document.querySelectorAll('*').length
    still = document.querySelector(idle) && now === last ? still + 1 : 0
    last = now
  }
}"""
STILL_S = 0.5  # how long it has to stand still, which is not counted


def visit(context: Any, address: str) -> dict[str, float]:
    """Open one page in a tab of its own and wait until nothing is added to it any more."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    client = context.new_cdp_session(page)
    client.send("Performance.enable")
    begun = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("h1")
    title = time.perf_counter() - begun
    page.evaluate(STILL, IDLE)
    settled = time.perf_counter() - begun - STILL_S
    metrics = {each["name"]: each["value"] for each in client.send("Performance.getMetrics")["metrics"]}
    page.close()
    return dict(zip(FIGURES, (title, settled, metrics["ScriptDuration"], metrics["TaskDuration"]), strict=True))


def round_of(state: str, checkout: Path, browser: Any) -> dict[str, dict[str, float]]:
    """One visit to every page of a lab in this state, by "state, page"; Overview is opened once before."""
    found = {}
    with lab_in(state, checkout) as (server, paths):
        names = paths if state == "one" else ("overview", "runs", "run")
        context = browser.new_context(viewport=SIZE)
        visit(context, server.address)
        for name in names:
            found[f"{state}, {name}"] = visit(context, f"{server.address}/{paths[name]}")
        context.close()
    return found


def main() -> None:
    """Visit in turn, print and keep the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs=2, type=Path, metavar="CHECKOUT", help="the older one first")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    old, new = (each.resolve() for each in options.checkouts)
    rounds: dict[Path, list[dict[str, dict[str, float]]]] = {old: [], new: []}
    with chromium() as browser:
        for _ in range(options.rounds):
            for checkout, found in rounds.items():
                found.append(round_of("one", checkout, browser) | round_of("live", checkout, browser))
    medians = {
        page: {
            figure: [round(statistics.median(one[page][figure] for one in rounds[each]), 2) for each in (old, new)]
            for figure in FIGURES
        }
        for page in rounds[new][0]
    }
    keep("page-visits", {"rounds": options.rounds, "old_and_new": medians})


if __name__ == "__main__":
    main()
