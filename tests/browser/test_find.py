"""Ctrl-K in Chromium: a window over every page that finds a page, a run or a dataset by typing."""

from __future__ import annotations

import re
from typing import Any

from core.runs.store import RunStore
from tests.browser.conftest import Server, expect, in_chromium, settle, visit
from tests.pages.run_folders import finished, hostile

pytestmark = in_chromium


def test_typing_finds_and_enter_opens_while_fields_keep_their_keys(page: Any, server: Server) -> None:
    store = RunStore(server.folder / "runs")
    hostile(store)
    vae, unet = finished(store)
    visit(page, server, "train")
    settle(page)
    window = page.get_by_role("dialog", name="Find a page, run or dataset")
    field, options = window.get_by_role("combobox"), window.get_by_role("option")
    page.get_by_role("textbox", name="Run name").focus()
    page.keyboard.press("Control+k")
    expect(window).to_be_hidden()
    page.locator(":focus").blur()

    page.keyboard.press("Control+k")
    expect(field).to_be_focused()
    page.keyboard.type("first VAE fin")
    expect(options).to_have_count(1)
    expect(options).to_have_attribute("href", f"./runs?run={vae.id}")
    page.keyboard.press("Escape")
    expect(window).to_be_hidden()

    page.get_by_role("button", name="Find").click()
    expect(options.first).to_have_attribute("aria-selected", "true")
    expect(field).to_be_focused()
    page.keyboard.type("first")
    expect(options).to_have_count(2)
    page.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    second = vae if vae.id in options.nth(1).get_attribute("href") else unet
    page.keyboard.press("Enter")
    expect(window).to_be_hidden()
    expect(page.locator("h1")).to_have_text(second.title)
    expect(page).to_have_url(re.compile(f"run={second.id}"))
