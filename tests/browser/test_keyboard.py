"""The keyboard alone leads from the start of the lab to new images."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.access import FOCUS
from tests.browser.conftest import Server, expect, in_chromium, settle, visit

pytestmark = [*in_chromium, pytest.mark.slow]
MOST_STOPS = 40


def reach(page: Any, begins: str, key: str = "Tab") -> None:
    """Press Tab, or Shift+Tab, until the element whose name begins so is in focus."""
    stops: list[str] = []
    for _ in range(MOST_STOPS):
        page.keyboard.press(key)
        stops.append(page.evaluate(FOCUS)["name"])
        if stops[-1].startswith(begins):
            return
    raise AssertionError(f"{key} never reaches '{begins}': {stops}")


def test_keys_alone_lead_from_the_start_to_new_images(page: Any, server: Server) -> None:
    visit(page, server)
    settle(page)
    reach(page, "Generate")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Generate")
    scrubber, earlier = page.get_by_test_id("scrubber"), page.get_by_text("The images show earlier settings")
    expect(scrubber).to_have_attribute("data-ready", "1")
    settle(page)

    reach(page, "Model")
    page.keyboard.type("demo")
    page.keyboard.press("Enter")
    settle(page)
    reach(page, "Guidance")
    page.keyboard.press("ArrowRight")
    expect(earlier).to_be_visible()
    settle(page)
    reach(page, "Generate ", "Shift+Tab")
    page.keyboard.press("Enter")
    expect(earlier).to_be_hidden()
    expect(scrubber).to_have_attribute("data-ready", "1")
