"""The denoising scrubber in real Chromium, its payload and what a move takes: `python -m benchmarks.scrubber SOURCE`

Draws ten pictures, one a class, and 64, in fifty steps with guidance and all four layers, and weighs what the browser
gets of each. Then serves the lab on the runs folder of LAB_RUNS, opens the ten, shows all four layers, and makes 200
moves of the slider to the next step, once with nothing chosen and once with a picture chosen. A move counts until the
second display frame begins: the first one shows it. `still` is the same wait without a move: what the machine itself
adds. Results: benchmarks/results/scrubber-<date>.json.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from benchmarks.generate import newest_step_of
from benchmarks.report import keep, summary
from benchmarks.server import IDLE, chromium, served, window
from core.sampling.recipe import Recipe
from lab.generate.generation_view import pack_drawing
from lab.services import models
from lab.services.models import source_of

STEPS, SEED, GUIDANCE = 50, 0, 1.5
LIMITS_KB = {10: 400, 64: 2500}
MOVE = """async (root, moves) => {
  const range = root.querySelector("input[type=range]"), count = Number(range.max) + 1
  const next = () => new Promise(requestAnimationFrame)
  const work = [], shown = [], still = []
  for (let move = 0; move < moves; move++) {
    await next()
    const begun = performance.now()
    range.value = (Number(range.value) + 1) % count
    range.dispatchEvent(new Event("input", { bubbles: true }))
    work.push(performance.now() - begun)
    await next()
    shown.push(performance.now() - begun)
  }
  for (let move = 0; move < moves; move++) {
    await next()
    const begun = performance.now()
    await next()
    still.push(performance.now() - begun)
  }
  return { work, shown, still }
}"""


def payload_of(source: str, count: int) -> dict[str, Any]:
    """Bytes that the browser gets of `count` pictures, and what drawing and packing them took."""
    facts = source_of(source)
    classes = len(facts.class_names)
    begun = time.process_time()
    drawing = models.draw_recipe(
        Recipe(
            source=source,
            step=newest_step_of(source),
            labels=tuple(place % classes for place in range(count)),
            seeds=tuple(range(SEED, SEED + count)),
            sampler=facts.settings.sampling.sampler,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
        ),
        with_layers=True,
    )
    drawn = time.process_time()
    packed = pack_drawing(drawing)
    return {
        "pictures": count,
        "frames": len(packed.steps),
        "payload_kb": round(len(packed.payload) / 1000, 1),
        "limit_kb": LIMITS_KB[count],
        "draw_cpu_s": round(drawn - begun, 2),
        "pack_cpu_s": round(time.process_time() - drawn, 2),
    }


def moved(source: str, moves: int) -> dict[str, Any]:
    """Milliseconds a move, in one window of 1280 × 900."""
    with served() as server, chromium() as browser, window(browser) as page:
        page.goto(f"{server.address}/generate?run={source}&steps={STEPS}&guidance={GUIDANCE}&seed={SEED}")
        root = page.locator('[data-testid="scrubber"][data-ready="1"]')
        root.wait_for()
        page.wait_for_selector(IDLE)
        for chip in root.locator('.chips button[aria-pressed="false"]').all_inner_texts():
            root.get_by_role("button", name=chip, exact=True).click()
        page.wait_for_timeout(2000)
        layers = root.locator("canvas.plain, .panels canvas").count()
        plain = root.evaluate(MOVE, moves)
        root.locator(".panels canvas").first.click(position={"x": 20, "y": 20})
        page.wait_for_timeout(2000)
        page.wait_for_selector(IDLE)
        chosen = root.evaluate(MOVE, moves)
    return {
        "layers": layers,
        "moves": moves,
        **{name: summary(values) for name, values in plain.items()},
        "with_a_picture_chosen": {name: summary(values) for name, values in chosen.items()},
    }


def main() -> None:
    """Measure and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE", help="a trained U-Net run, or a model folder: model:mnist-demo")
    parser.add_argument("--moves", type=int, default=200)
    parser.add_argument("--label", default="", help="added to the name of the result file")
    options = parser.parse_args()
    result = {
        "source": options.source,
        "steps": STEPS,
        "payloads": [payload_of(options.source, count) for count in LIMITS_KB],
        **moved(options.source, options.moves),
    }
    keep("scrubber", result, options.label)


if __name__ == "__main__":
    main()
