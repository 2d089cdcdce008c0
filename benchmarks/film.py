"""The film in real Chromium: payload, and what a move of its two sliders takes: `python -m benchmarks.film RUN [RUN]`

Serves the lab on the runs folder of LAB_RUNS, opens the view Film with one run or two side by side, and makes 200
moves, the two sliders in turn. A move counts until the second display frame begins: the first one shows it.
Results: benchmarks/results/film-<date>.json.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from benchmarks.report import keep, summary
from benchmarks.server import chromium, served, window
from core.config.load import read_site
from core.runs.film import read_film
from core.runs.store import RunStore
from lab.widgets.film import pack_films

MOVE = """async (root, moves) => {
  const ranges = [...root.querySelectorAll("input[type=range]")].filter((range) => Number(range.max) > 0)
  const next = () => new Promise(requestAnimationFrame)
  const work = [], shown = []
  for (let move = 0; move < moves; move++) {
    const range = ranges[move % ranges.length], count = Number(range.max) + 1
    await next()
    const begun = performance.now()
    range.value = (Number(range.value) + 1) % count
    range.dispatchEvent(new Event("input", { bubbles: true }))
    work.push(performance.now() - begun)
    await next()
    shown.push(performance.now() - begun)
  }
  return { work, shown }
}"""


def measured(runs: list[str], moves: int) -> dict[str, Any]:
    """Milliseconds a move, in one window of 1280 × 900."""
    query = "&".join(f"{name}={run}" for name, run in zip(("run", "against"), runs, strict=False))
    with served() as server, chromium() as browser, window(browser) as page:
        begun = time.monotonic()
        page.goto(f"{server.address}/generate?view=Film&{query}")
        film = page.locator('.film[data-ready="1"]')
        film.wait_for()
        opened_s = time.monotonic() - begun
        page.wait_for_timeout(1500)
        found = film.evaluate(MOVE, moves)
    return {"opened_s": round(opened_s, 2), **{name: summary(values) for name, values in found.items()}}


def main() -> None:
    """Measure and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="one run, or two side by side")
    parser.add_argument("--moves", type=int, default=200)
    parser.add_argument("--label", default="", help="added to the name of the result file")
    options = parser.parse_args()
    store = RunStore(read_site()[0].runs)
    runs = [store.get(text) for text in options.runs[:2]]
    begun = time.process_time()
    films = [read_film(run) for run in runs]
    read_s = time.process_time() - begun
    payload = pack_films(films, [run.id for run in runs])
    result = {
        "films": [
            {
                "training_steps": len(film.steps),
                "denoising_steps": len(film.timesteps),
                "pictures": len(film.labels),
                "shape": next(iter(film.layers.values())).shape[3:],
                "layers": list(film.layers),
            }
            for film in films
        ],
        "payload_bytes": len(payload),
        "read_cpu_s": round(read_s, 2),
        "pack_cpu_s": round(time.process_time() - begun - read_s, 2),
        "moves": options.moves,
        **measured([run.id for run in runs], options.moves),
    }
    keep("film", result, options.label)


if __name__ == "__main__":
    main()
