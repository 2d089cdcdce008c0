"""The header in Chromium: Tab leads past it first, it says which page is open, and its links hold in any tab."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import Server, expect, in_chromium, visit

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
    assert page.get_by_text("Skip to").filter(visible=True).count() == 1


def test_links_say_which_page_is_open_and_lead_home_in_a_tab_of_their_own(page: Any, server: Server) -> None:
    visit(page, server, "runs")
    links = page.locator(".st-key-lab-top a")
    current = page.locator(".st-key-lab-top a[aria-current=page]")
    expect(current).to_have_text("Runs")
    assert links.filter(has_text="Overview").evaluate("(link) => link.href") == f"{server.address}/"
    links.filter(has_text="Train").click()
    expect(current).to_have_text("Train")
    links.filter(has_text="Overview").click()
    expect(current).to_have_text("Overview")
