"""The header in Chromium: Tab leads past it first, it says which page is open, and its links hold in any tab."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import Server, expect, in_chromium, visit, wait_for

pytestmark = in_chromium
IN = "(place) => !!document.activeElement?.closest(place)"


def test_the_first_stop_of_tab_leads_past_the_header(page: Any, server: Server) -> None:
    visit(page, server, "runs")
    page.locator("h1").first.wait_for()
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    page.keyboard.press("Enter")
    wait_for(lambda: page.evaluate(IN, "[data-testid=stMain]"), "the focus does not move into the page")
    wait_for(lambda: not page.evaluate(IN, ".st-key-lab-top"), "the focus stays in the header")
    wait_for(lambda: not page.evaluate(IN, "h1"), "the title has the focus")
    expect(page.get_by_text("Skip to").filter(visible=True)).to_have_count(1)


def test_links_say_which_page_is_open_and_lead_home_in_a_tab_of_their_own(page: Any, server: Server) -> None:
    visit(page, server, "runs")
    links = page.locator(".st-key-lab-top a")
    current = page.locator(".st-key-lab-top a[aria-current=page]")
    expect(current).to_have_text("Runs")
    expect(links.filter(has_text="Overview")).to_have_js_property("href", f"{server.address}/")
    links.filter(has_text="Train").click()
    expect(current).to_have_text("Train")
    links.filter(has_text="Overview").click()
    expect(current).to_have_text("Overview")
