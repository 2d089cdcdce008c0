"""The X/Y/Z grid in a real browser: cells arrive, one is chosen, and its settings become those of the page."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import Server, expect, in_chromium, settle, shot, visit, wait_for

pytestmark = in_chromium


def test_a_cell_of_the_grid_gives_its_settings_to_the_page(page: Any, server: Server) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    axes = "x=num_inference_steps&num_inference_steps-values=2,4&y=sampler&sampler-values=unipc,euler"
    visit(page, server, f"generate?run=model:mnist-demo&steps=4&{axes}&grid=1")
    grid = page.get_by_test_id("image-grid")
    expect(grid).to_have_attribute("data-cells", "4")
    settle(page)
    use = page.get_by_role("button", name="Use these settings")
    expect(use).to_be_disabled()
    shot(page, "grid")
    cell = grid.get_by_role("button", name="2 steps, euler")
    cell.focus()
    page.keyboard.press("Enter")
    expect(cell).to_have_attribute("aria-pressed", "true")
    expect(use).to_be_enabled()
    use.click()
    expect(page.get_by_test_id("scrubber").first).to_be_visible()
    expect(page.get_by_role("spinbutton", name="Steps")).to_have_value("2")
    wait_for(lambda: "sampler=euler" in page.url and "grid=1" not in page.url, "the link does not follow")
    assert complaints == []
