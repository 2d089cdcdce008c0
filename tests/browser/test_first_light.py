"""The whole path in real Chromium, from an empty lab to a digit under the scrubber, with the server killed in between.

Screenshots go to test-artifacts/ for people to look at. Times are printed, never asserted.
"""

from __future__ import annotations

import contextlib
import json
import re
import statistics
from typing import Any

import psutil

from core.jobs.engines.choose import observed_status
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.browser.conftest import IDLE, PICTURE, Server, expect, in_chromium, settle, shot, typed, visit, wait_for

pytestmark = in_chromium


def newest(server: Server, kind: str) -> Run:
    return next(run for run in RunStore(server.folder / "runs").list() if run.info.kind == kind)


def computes(server: Server) -> bool:
    """Whether a child of the server computes; others may end while they are looked at."""
    for child in psutil.Process(server.process.pid).children():
        with contextlib.suppress(psutil.Error):
            if "core.compute.worker" in child.cmdline():
                return True
    return False


def lines(run: Run) -> int:
    return len(run.metrics_path.read_text().splitlines()) if run.metrics_path.exists() else 0


def fill(page: Any, label: str, value: str) -> None:
    """Type it until it stays."""
    named = [page.get_by_role(role, name=label) for role in ("spinbutton", "textbox")]  # it is marked as changed then
    field, kept = page.get_by_label(label, exact=True).first, named[0].or_(named[1]).first
    typed(page, field, value, lambda: kept.input_value() == value, f"'{label}' does not keep {value}")


def choose(page: Any, card: str) -> None:
    """Choose the dataset whose card has these words."""
    page.get_by_role("radio", name=re.compile(card)).check()
    page.wait_for_selector(IDLE)


def test_from_an_empty_lab_to_a_digit_under_the_scrubber(page: Any, started_server: Server) -> None:
    server = started_server
    wait_for(lambda: computes(server), "nothing computes yet")
    first_s, again_s = visit(page, server), visit(page, server)
    print(f"\nstart page: first load {first_s:.2f} s, again {again_s:.2f} s")
    expect(page.get_by_text("Nothing trained yet")).to_be_visible()
    shot(page, "1-empty-lab")

    visit(page, server, "train")
    choose(page, "scikit-learn")
    fill(page, "VAE steps", "40")
    fill(page, "U-Net steps", "160")
    expect(page.get_by_text("Different from quick")).to_be_visible()
    shot(page, "2-train")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text(re.compile("step [0-9,]+ of 40"))).to_be_visible()
    vae = newest(server, "vae")
    wait_for(lambda: lines(vae) >= 1, "the VAE logged nothing")
    expect(page.locator(".lab-chart svg:visible").first).to_be_visible()  # a sketch while it runs; it may have ended
    shot(page, "3-vae-running")

    unet = newest(server, "unet")
    wait_for(lambda: lines(unet) >= 2, "the U-Net did not begin by itself")
    visit(page, server, f"runs?run={unet.id}")
    expect(page.locator(".lab-chart .sketch svg").first).to_be_visible()
    drawn = "() => document.querySelector('.lab-chart path.js-line')?.getAttribute('d')?.split(',').length ?? 0"
    wait_for(lambda: page.evaluate(drawn) > 1, "no curve is drawn")
    before = page.evaluate(drawn)
    wait_for(lambda: page.evaluate(drawn) > before, "the curve does not grow in the open page")
    shot(page, "4-unet-running")

    step = unet.status().step
    server.kill()
    wait_for(lambda: unet.status().step > step, "the run did not go on without its server")
    server.start()
    visit(page, server, f"runs?run={unet.id}")
    expect(page.get_by_text(re.compile("running · U-Net")).first).to_be_visible()

    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text(re.compile("stopped · U-Net")).first).to_be_visible()
    assert observed_status(unet).state is RunState.STOPPED
    assert 0 < unet.status().step < 160
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    shot(page, "5-stopped")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text(re.compile("finished · U-Net")).first).to_be_visible()
    assert unet.status().step == 160
    steps = [json.loads(line)["step"] for line in unet.metrics_path.read_text().splitlines()]
    assert steps == sorted(set(steps))
    shot(page, "6-finished")

    page.get_by_test_id("stMain").get_by_role("link", name="Generate").first.click()
    scrubber = page.get_by_test_id("scrubber")
    expect(scrubber).to_have_attribute("data-ready", "1")
    last = unet.settings.sampling.num_inference_steps
    expect(scrubber).to_have_attribute("data-frame", str(last))
    canvas = scrubber.locator("canvas.noisy")
    settle(page)
    clean = canvas.evaluate(PICTURE)
    scrubber.focus()
    page.keyboard.press("ArrowLeft")
    expect(scrubber).to_have_attribute("data-frame", str(last - 1))
    wait_for(lambda: canvas.evaluate(PICTURE) != clean, "one step changes nothing")
    page.keyboard.press("ArrowRight")
    expect(scrubber).to_have_attribute("data-frame", str(last))
    wait_for(lambda: canvas.evaluate(PICTURE) == clean, "a step on does not show the digit again")
    page.keyboard.press("Home")
    expect(scrubber).to_have_attribute("data-frame", "0")
    wait_for(lambda: canvas.evaluate(PICTURE) != clean, "noise and picture look the same")
    shot(page, "7-generate-noise")
    page.get_by_role("button", name="Play", exact=True).click()
    expect(scrubber).to_have_attribute("data-frame", str(last))
    wait_for(lambda: canvas.evaluate(PICTURE) == clean, "playing does not end with the digit")
    shot(page, "8-generate")
    times = scrubber.evaluate(MOVES)
    print(f"scrubber: {statistics.median(times):.1f} ms a move, worst of {len(times)}: {max(times):.1f} ms")


MOVES = """async (root) => {
  const range = root.querySelector('input[type=range]'), times = []
  for (let move = 0; move < 200; move++) {
    const started = performance.now()
    range.value = move % (Number(range.max) + 1)
    range.dispatchEvent(new Event('input'))
    await new Promise(requestAnimationFrame)
    times.push(performance.now() - started)
  }
  return times
}"""
