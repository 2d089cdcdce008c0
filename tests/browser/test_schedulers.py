"""The Schedulers page in a real browser: digits dissolve under the slider, and the link says what is seen."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import PICTURE, Server, expect, in_chromium, press, shot, visit, wait_for

pytestmark = in_chromium


def errors(page: Any) -> list[str]:
    """What the page complains about from now on."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def test_a_digit_dissolves_under_the_slider_and_a_link_shows_the_same(page: Any, server: Server) -> None:
    complaints = errors(page)
    visit(page, server, "schedulers")
    slider = page.locator("input[type=range]").first
    expect(slider).to_be_visible()
    canvas = page.locator("canvas.noisy")
    expect(canvas).to_be_visible()
    press(page, slider, "Home", lambda: slider.input_value() == slider.get_attribute("min"), "no t = 0")
    clean = canvas.evaluate(PICTURE)
    press(page, slider, "End", lambda: canvas.evaluate(PICTURE) != clean, "the picture does not change with t")
    expect(page.get_by_text("linear has lost the digit")).to_be_visible()
    pills = page.get_by_test_id("stButtonGroup").filter(has_text="scaled_linear")
    pills.get_by_role("button", name="sigmoid of β", exact=True).click()
    expect(page.get_by_text("sigmoid: ").first).to_be_visible()
    wait_for(lambda: "sigmoid" in page.url, "the choice is not in the link")
    link = page.url.split("/", 3)[3]
    visit(page, server, link)
    expect(page.get_by_text("sigmoid: ").first).to_be_visible()
    page.get_by_text("Log scale", exact=True).click()
    ticks = page.get_by_test_id("chart").locator("svg text").filter(has_text="10⁻")
    expect(ticks.first).to_be_visible()
    wait_for(lambda: 2 <= ticks.count() < 12, "nine powers of ten, and no digits between")
    wait_for(lambda: not page.evaluate("Boolean(window.Plotly)"), "the sketch has loaded Plotly")
    shot(page, "schedules")
    assert complaints == []


def test_the_self_test_draws_its_curves_for_every_schedule(page: Any, server: Server) -> None:
    complaints = errors(page)
    visit(page, server, "schedulers?view=Self-test")
    expect(page.get_by_text("Error of the path, lower is better")).to_be_visible()
    page.get_by_role("combobox", name="Schedule").click()
    page.get_by_role("option", name="cosine").click()
    expect(page.get_by_text("Not possible with this schedule: heun")).to_be_visible()
    shot(page, "self-test")
    views = page.get_by_test_id("stButtonGroup").filter(has_text="Self-test")
    views.get_by_text("Samplers", exact=True).click()
    expect(page.get_by_text("No trained U-Net yet")).to_be_visible()
    views.get_by_text("Loss by timestep").click()
    expect(page.get_by_text("No trained U-Net yet, and the loss is that of one.")).to_be_visible()
    assert complaints == []
