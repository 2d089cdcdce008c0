"""The scrubber in a real browser, on drawings of the bundled demo: layers, keys, the large picture, a branch."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import PICTURE, Server, expect, in_chromium, press, settle, shot, visit, wait_for

pytestmark = in_chromium
READY = '[data-testid="scrubber"][data-ready="1"]'
# press the button of a layer: does another one show the same in every frame, until there is a canvas more or less?
SHOWS = """async (root, layer) => {
  const held = () => root.querySelector('.panels canvas.noisy')?.toDataURL()
  const count = () => root.querySelectorAll('.panels canvas').length
  const [before, shown] = [held(), count()]
  for (const each of root.querySelectorAll('.chips button')) if (each.textContent === layer) each.click()
  for (let frame = 0; frame < 3600 && count() === shown && held() === before; frame++) {
    await new Promise(requestAnimationFrame)
  }
  return count() !== shown && held() === before
}"""


def test_digits_of_the_demo_are_scrubbed_enlarged_and_branched(page: Any, server: Server) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    visit(page, server, "generate?run=model:mnist-demo&steps=4")
    scrubber = page.locator(READY).first
    expect(scrubber).to_be_visible()
    settle(page)
    others_stand = scrubber.evaluate(SHOWS, "Noise")
    assert others_stand, "a layer that is added empties the others until it is drawn"
    slider = scrubber.get_by_role("slider", name="Denoising step")
    held = scrubber.get_by_role("img", name="Current sample").first
    last = held.evaluate(PICTURE)
    press(page, slider, "Home", lambda: held.evaluate(PICTURE) != last, "Home does not show the noise")
    noise = held.evaluate(PICTURE)
    page.keyboard.press("ArrowRight")
    wait_for(lambda: held.evaluate(PICTURE) != noise, "the arrow does not move the step")
    press(page, slider, "End", lambda: held.evaluate(PICTURE) == last, "End does not show the digits again")
    page.keyboard.press("ArrowLeft")
    held.click(position={"x": 12, "y": 12})
    expect(scrubber.locator("aside.large h4")).to_have_text("Current sample at step 3 of 4")
    strips = scrubber.get_by_role("img", name="at every step")
    expect(strips).to_have_count(2)
    strips.first.click(position={"x": 5, "y": 5})
    expect(scrubber).to_have_attribute("data-frame", "0")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    expect(scrubber.locator("aside.large")).to_be_hidden()
    scrubber.get_by_role("button", name="Branch from step 3").click()
    expect(page.locator(READY)).to_have_count(2)
    expect(page.get_by_role("combobox", name="Class").last).to_be_visible()
    shot(page, "scrubber")
    assert complaints == []
