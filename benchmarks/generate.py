"""From a click to the first picture, ten digits, 20 steps, guidance, on the CPU: `python -m benchmarks.generate SOURCE`

Once in the service (until the first predicted picture, and until all is drawn and packed for the browser), once in real
Chromium: the button of the next seed is clicked on the page Generate, and the time runs until a display frame has a
picture of the new drawing, be it the preview or the finished one, and until the scrubber holds the new drawing. Warm:
the model is loaded and the page was drawn before. Results: benchmarks/results/generate-<date>.json.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from benchmarks.report import keep, summary
from benchmarks.server import IDLE, chromium, served, window
from core.sampling.recipe import Recipe
from lab.generate.generation_view import pack_drawing
from lab.services import models
from lab.services.models import model_sources, source_of

STEPS, GUIDANCE, PICTURES = 20, 1.5, 10
LIMIT_MS = 1500
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
    """Milliseconds until the first picture, until the drawing is there, and until it is packed."""
    settings = source_of(source).settings
    step = newest_step_of(source)
    times: dict[str, list[float]] = {"first": [], "drawn": [], "packed": []}
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
            for name, value in (("first", first[0]), ("drawn", drawn), ("packed", packed)):
                times[name].append(1000 * value)
    return {name: summary(values) for name, values in times.items()}


def in_chromium(source: str, repeats: int) -> dict[str, Any]:
    """Milliseconds from the click, in one window of 1280 × 900."""
    found: dict[str, list[float]] = {"first": [], "done": []}
    with served() as server, chromium() as browser, window(browser) as page:
        page.goto(f"{server.address}/generate?run={source}&steps={STEPS}&guidance={GUIDANCE}&seed=100")
        page.locator('[data-testid="scrubber"][data-ready="1"]').wait_for()
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
    parser.add_argument("--label", default="", help="added to the name of the result file")
    options = parser.parse_args()
    result = {
        "source": options.source,
        "pictures": PICTURES,
        "steps": STEPS,
        "guidance": GUIDANCE,
        "limit_ms": LIMIT_MS,
        "repeats": options.repeats,
        "service": in_service(options.source, options.repeats),
        "chromium": in_chromium(options.source, options.repeats),
    }
    keep("generate", result, options.label)


if __name__ == "__main__":
    main()
