"""The keyboard in Chromium: the first stop of Tab leads past the header, to the first control of the page."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import Server, in_chromium, visit

pytestmark = in_chromium
IN = "(place) => !!document.activeElement.closest(place)"


def test_the_first_stop_of_tab_leads_past_the_header(page: Any, server: Server) -> None:
    visit(page, server, "runs")
    page.locator("h1").first.wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.innerText") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate(IN, "[data-testid=stMain]")
    assert not page.evaluate(IN, ".st-key-lab-top")
    assert not page.evaluate(IN, "h1")
