"""What pages and the most used acts cost in Chromium, old and new in turn: `python -m benchmarks.page_visits OLD NEW`

OLD and NEW are checkouts. In every round each serves the same kinds of labs to a browser that has seen the lab before:

- *visits*: every page of a lab with one finished run, and three pages of a lab with a live one. Seconds to the title
  and until the page stands still, and seconds of script and of all work of the page's main thread until then.
- *acts*: what people do most. Seconds until the page stands still again, and the same work.
- *live*: pages left open over three runs that log twice per second. Seconds of script and of work per minute, and
  milliseconds of the server's processor per request of the page (a tick).

Work in the browser is processor time (Chromium's thread ticks), so other load on the machine disturbs it less. Medians
of the rounds. Results: benchmarks/results/page-visits-<date>.json.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from benchmarks.generate import WATCH
from benchmarks.monitor_scale import cpu_s, living, make_runs
from benchmarks.report import keep
from benchmarks.server import HOME, IDLE, PATIENCE_MS, ROOT, SIZE, Server, chromium, end_supervisor
from benchmarks.states import FOLDERS, lab_in

Figures = dict[str, dict[str, float]]
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
LIVE_LINES = 2000
PARTS = ("visits", "acts", "live")


def exact(words: str) -> re.Pattern[str]:
    """A button's words, with the name of its icon before them or not."""
    return re.compile(rf"(^|\s){re.escape(words)}\s*$")


def click(words: str) -> Callable[[Any], None]:
    """Press a button, or a tab, by its words."""
    return lambda page: page.locator("button, [role=tab]").filter(has_text=exact(words)).first.click()


def follow(words: str) -> Callable[[Any], None]:
    """Follow a link of the header."""
    return lambda page: page.get_by_role("link", name=words).first.click()


def in_table(new: str, x: int, y: int) -> Callable[[Any], None]:
    """Press something in the table of runs; older labs had a canvas, where it is at a place in pixels."""

    def press(page: Any) -> None:
        page.locator('.link-table tbody tr, [data-testid="stDataFrame"] canvas').first.wait_for()
        if page.locator(".link-table").count():
            page.locator(new).first.click()
        else:
            page.locator('[data-testid="stDataFrame"] canvas').first.click(position={"x": x, "y": y}, force=True)

    return press


def search(page: Any) -> None:
    """Look for runs by a word of their names."""
    page.get_by_placeholder("name, tag, note, id …").fill("light")
    page.keyboard.press("Enter")


def more_guidance(page: Any) -> None:
    """One notch."""
    page.locator(".st-key-guidance input").first.focus()
    page.keyboard.press("ArrowRight")


def next_seed(page: Any) -> None:
    """Generate with the next seed, until the scrubber holds it."""
    page.locator("button").filter(has_text="casino").first.evaluate(WATCH)


def scrub(page: Any) -> None:
    """One step back."""
    page.get_by_label("Denoising step").focus()
    page.keyboard.press("ArrowLeft")


def other_quantity(page: Any) -> None:
    """The next of the list."""
    page.locator(".st-key-quantity input").click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")


ACTS: tuple[tuple[str, str, Callable[[Any], None]], ...] = (
    ("open Generate", "overview", follow("Generate")),
    ("open the form of Train", "overview", follow("Train")),
    ("open a run", "runs", in_table(".link-table tbody a", 160, 52)),
    ("sort the runs", "runs", in_table(".link-table thead button", 160, 18)),
    ("filter the runs", "runs", search),
    ("another tab of a run", "run", click("Log")),
    ("more guidance", "generate", more_guidance),
    ("next seed", "generate", next_seed),
    ("one step back", "generate", scrub),
    ("another schedule", "schedulers", click("sigmoid")),
    ("another quantity", "schedulers", other_quantity),
)


def opened(context: Any) -> tuple[Any, Any]:
    """A tab, and a way to ask Chromium for the work of its main thread."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    client = context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})
    return page, client


def work(client: Any) -> dict[str, float]:
    """Processor seconds of script and of everything so far."""
    metrics = {each["name"]: each["value"] for each in client.send("Performance.getMetrics")["metrics"]}
    return {"script_s": metrics["ScriptDuration"], "work_s": metrics["TaskDuration"]}


def visit(context: Any, address: str) -> dict[str, float]:
    """Open one page in a tab of its own and wait until nothing is added to it any more."""
    page, client = opened(context)
    begun = time.perf_counter()
    page.goto(address)
    page.wait_for_selector("h1")
    title = time.perf_counter() - begun
    page.evaluate(STILL, IDLE)
    settled = time.perf_counter() - begun - STILL_S
    found = {"title_s": title, "settled_s": settled, **work(client)}
    page.close()
    return found


def act(context: Any, address: str, do: Callable[[Any], None]) -> dict[str, float]:
    """Do one thing on a page that stands still."""
    page, client = opened(context)
    page.goto(address)
    page.wait_for_selector("h1")
    page.evaluate(STILL, IDLE)
    before, begun = work(client), time.perf_counter()
    do(page)
    page.evaluate(STILL, IDLE)
    settled = time.perf_counter() - begun - STILL_S
    found = {"settled_s": settled, **{name: value - before[name] for name, value in work(client).items()}}
    page.close()
    return found


def looked_at(context: Any, address: str, server: psutil.Process, seconds: float) -> dict[str, float]:
    """Leave a live page open."""
    page, client = opened(context)
    ticks: list[int] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda _: ticks.append(1)))
    page.goto(address)
    page.wait_for_selector("h1")
    page.evaluate(STILL, IDLE)
    before, busy, begun, sent = work(client), cpu_s(server), time.perf_counter(), len(ticks)
    page.wait_for_timeout(1000 * seconds)
    minutes = (time.perf_counter() - begun) / 60
    found = {f"{name}_per_min": (value - before[name]) / minutes for name, value in work(client).items()}
    found["server_ms_per_tick"] = 1000 * (cpu_s(server) - busy) / max(1, len(ticks) - sent)
    page.close()
    return found


def visits(checkout: Path, browser: Any) -> Figures:
    """By "state, page"; Overview is opened once before."""
    found = {}
    for state in ("one", "live"):
        with lab_in(state, checkout) as (server, paths):
            names = paths if state == "one" else ("overview", "runs", "run")
            context = browser.new_context(viewport=SIZE)
            visit(context, server.address)
            for name in names:
                found[f"{state}, {name}"] = visit(context, f"{server.address}/{paths[name]}")
            context.close()
    return found


def acts(checkout: Path, browser: Any) -> Figures:
    """By what is done; each page was opened once before."""
    found = {}
    with lab_in("one", checkout) as (server, paths):
        context = browser.new_context(viewport=SIZE)
        for name in dict.fromkeys(page for _, page, _ in ACTS):
            visit(context, f"{server.address}/{paths[name]}")
        for words, name, do in ACTS:
            found[words] = act(context, f"{server.address}/{paths[name]}", do)
        context.close()
    return found


def live(checkout: Path, browser: Any, seconds: float) -> Figures:
    """By page, of a lab in which three runs log twice per second."""
    with tempfile.TemporaryDirectory(prefix="lab-visits-") as name:
        folder = Path(name)
        runs = make_runs(folder / "runs", 5, LIVE_LINES)
        pages = {
            "overview": "",
            "runs": "runs",
            "run": f"runs?run={runs[0].id}",
            "compare": f"compare?runs={','.join(run.id for run in runs)}",
        }
        own = {f"LAB_{each.upper()}": str(folder / each) for each in FOLDERS}
        server = Server(folder, {**os.environ, **own, "PYTHONPATH": str(checkout)}, checkout / HOME.relative_to(ROOT))
        with living(folder / "runs", runs, LIVE_LINES):
            server.start()
            try:
                context = browser.new_context(viewport=SIZE)
                visit(context, server.address)
                process = psutil.Process(server.process.pid)
                return {
                    f"live for a while, {page}": looked_at(context, f"{server.address}/{path}", process, seconds)
                    for page, path in pages.items()
                }
            finally:
                context.close()
                server.kill()
                end_supervisor(folder / "runs")


def medians(old: list[Figures], new: list[Figures]) -> Mapping[str, Mapping[str, list[float]]]:
    """What → figure → [median of the older, median of the newer]."""
    return {
        what: {
            figure: [round(statistics.median(one[what][figure] for one in rounds), 2) for rounds in (old, new)]
            for figure in figures
        }
        for what, figures in new[0].items()
    }


def main() -> None:
    """Measure in turn, print and keep the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs=2, type=Path, metavar="CHECKOUT", help="the older one first")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long a live page is looked at")
    parser.add_argument("--label", default="", help="at the end of the file's name")
    options = parser.parse_args()
    rounds: dict[Path, list[Figures]] = {each.resolve(): [] for each in options.checkouts}
    load = []
    with chromium() as browser:
        for _ in range(options.rounds):
            for checkout, found in rounds.items():
                load.append(round(os.getloadavg()[0], 1))
                found.append({})
                if "visits" in options.parts:
                    found[-1] |= visits(checkout, browser)
                if "acts" in options.parts:
                    found[-1] |= acts(checkout, browser)
                if "live" in options.parts:
                    found[-1] |= live(checkout, browser, options.seconds)
    old, new = rounds.values()
    result = {"rounds": options.rounds, "load_before_each": load, "old_and_new": medians(old, new)}
    keep("page-visits", result, options.label)


if __name__ == "__main__":
    main()
