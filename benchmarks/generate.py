"""From a click to the first picture, ten digits, 20 steps, guidance, on the CPU: `python -m benchmarks.generate SOURCE`

Once in the service: until the first predicted picture, the finished pictures, the whole path, and its payload for the
browser. Once in real Chromium: the button of the next seed is clicked on the page Generate, and the time runs until a
display frame has a picture of the new drawing, be it the preview or the finished one, and until the scrubber holds the
new drawing. Warm: the model is loaded and the page was drawn before. Then from a fresh and from a warmed server. With
--checkouts OLD NEW the browser's figures are of both, in turn. Results: benchmarks/results/generate-<date>.json.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

from benchmarks.report import keep, summary
from benchmarks.server import HOME, IDLE, ROOT, Server, chromium, served, window
from core.sampling.recipe import Recipe
from lab.generate.generation_view import pack_drawing
from lab.services import models
from lab.services.models import model_sources, source_of

STEPS, GUIDANCE, PICTURES = 20, 1.5, 10
LIMIT_MS, WARM_UP_MS = 1500, 10_000
WATCH = """async (button) => {
  let root = null
  const drawing = () => {
    if (!root?.isConnected) {
      const hosts = [...document.querySelectorAll("*")].filter((element) => element.shadowRoot)
      root = hosts.map((host) => host.shadowRoot.querySelector("[data-testid=scrubber]")).find(Boolean)
    }
    return root?.dataset.drawing
  }
  const whole = (picture) => picture.complete && picture.naturalWidth > 0
  const preview = () => [...document.querySelectorAll("[data-testid=stImage] img")].some(whole)
  const next = () => new Promise(requestAnimationFrame)
  const before = drawing(), begun = performance.now()
  let first = null, done = null
  button.click()
  while (done === null && performance.now() - begun < 20000) {
    await next()
    const fresh = drawing() !== before && drawing() !== undefined
    if (first === null && (fresh || preview())) { await next(); first = performance.now() - begun }
    if (fresh) { await next(); done = performance.now() - begun }
  }
  return { first, done }
}"""


def newest_step_of(source: str) -> int:
    """The step of its newest checkpoint."""
    return next(found.steps[0] for found in model_sources() if found.id == source)


def in_service(source: str, repeats: int) -> dict[str, Any]:
    """Milliseconds until the first picture, the finished ones, the drawing with its path, and until it is packed."""
    settings = source_of(source).settings
    step = newest_step_of(source)
    times: dict[str, list[float]] = {"first": [], "finished": [], "drawn": [], "packed": []}
    for repeat in range(repeats + 1):
        first: list[float] = []
        recipe = Recipe(
            source=source,
            step=step,
            labels=tuple(range(PICTURES)),
            seeds=(repeat,) * PICTURES,
            sampler=settings.sampling.sampler,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
        )
        begun = time.perf_counter()

        def on_step(done: int, total: int, images: Any, *, first: list[float] = first, begun: float = begun) -> None:
            first.append(time.perf_counter() - begun)

        drawing = models.draw_recipe(recipe, with_layers=True, on_step=on_step)
        drawn = time.perf_counter() - begun
        pack_drawing(drawing, branch=True)
        packed = time.perf_counter() - begun
        if repeat:  # the first one loads the model
            for name, value in (("first", first[0]), ("finished", first[-1]), ("drawn", drawn), ("packed", packed)):
                times[name].append(1000 * value)
    return {name: summary(values) for name, values in times.items()}


def address_of(server: Server, source: str, seed: int) -> str:
    """The page with ten pictures of that seed."""
    return f"{server.address}/generate?run={source}&steps={STEPS}&guidance={GUIDANCE}&seed={seed}"


def until_drawn(page: Any, address: str) -> float:
    """Milliseconds from asking for the page until its scrubber holds the drawing."""
    begun = time.perf_counter()
    page.goto(address)
    page.locator('[data-testid="scrubber"][data-ready="1"]').wait_for()
    return 1000 * (time.perf_counter() - begun)


def from_cold(source: str, checkout: Path) -> dict[str, float]:
    """Milliseconds until a drawing is there: on a fresh server, on one that had ten seconds to warm up while another
    view of the page was open, and with the model loaded."""
    home = checkout / HOME.relative_to(ROOT)
    found = {}
    for state in ("fresh", "warmed"):
        with served(environment_of(checkout), home) as server, chromium() as browser, window(browser) as page:
            if state == "warmed":
                page.goto(f"{server.address}/generate?view=Gallery")
                page.wait_for_timeout(WARM_UP_MS)
            found[state] = until_drawn(page, address_of(server, source, 100))
            found["loaded"] = until_drawn(page, address_of(server, source, 101))
    return found


def environment_of(checkout: Path) -> dict[str, str]:
    """Processes of that server import its own modules."""
    return {**os.environ, "PYTHONPATH": str(checkout)}


def in_chromium(source: str, repeats: int, checkout: Path) -> dict[str, Any]:
    """Milliseconds from the click, in one window of 1280 × 900."""
    found: dict[str, list[float]] = {"first": [], "done": []}
    home = checkout / HOME.relative_to(ROOT)
    with served(environment_of(checkout), home) as server, chromium() as browser, window(browser) as page:
        until_drawn(page, address_of(server, source, 100))
        for repeat in range(repeats + 1):
            page.wait_for_selector(IDLE)
            page.wait_for_timeout(1000)
            times = page.get_by_role("button", name="casino").evaluate(WATCH)
            if repeat:
                for name, values in found.items():
                    values.append(times[name])
    return {name: summary(values) for name, values in found.items()}


def main() -> None:
    """Measure and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE", help="a trained U-Net run, or a model folder: model:mnist-demo")
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--label", default="", help="added to the name of the result file")
    parser.add_argument("--checkouts", nargs="*", type=Path, default=[ROOT], help="an older one first, in turn")
    options = parser.parse_args()
    browser = []
    for _ in range(options.rounds):
        for checkout in options.checkouts:
            place = checkout.resolve()
            figures = {**in_chromium(options.source, options.repeats, place), **from_cold(options.source, place)}
            browser.append({"checkout": checkout.name, **figures})
    result = {
        "source": options.source,
        "pictures": PICTURES,
        "steps": STEPS,
        "guidance": GUIDANCE,
        "limit_ms": LIMIT_MS,
        "repeats": options.repeats,
        "service": in_service(options.source, options.repeats),
        "chromium": browser,
    }
    keep("generate", result, options.label)


if __name__ == "__main__":
    main()
