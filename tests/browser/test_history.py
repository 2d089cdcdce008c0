"""The frame in Chromium: Back leaves a page where nothing was chosen, a choice can be taken back, titles stand high."""

from __future__ import annotations

from typing import Any

from core.runs.store import RunStore
from tests.browser.conftest import Server, expect, in_chromium, visit, wait_for
from tests.pages.run_folders import make_run

pytestmark = in_chromium
HIGHEST_TITLE_PX = 90
PAGES = ("Train", "Runs", "Generate", "Data", "Schedulers", "Latents", "Evaluate", "Machine")


def address(page: Any, server: Server) -> str:
    return str(page.url).removeprefix(server.address)


def go(page: Any, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).first.click()
    wait_for(lambda: page.title() == f"{name} · Lab", lambda: f"the title of {name}, not {page.title()}")
    page.locator("h1").first.wait_for()


def stands_high(page: Any) -> bool:
    box = page.locator("h1").first.bounding_box()
    return box is not None and box["y"] <= HIGHEST_TITLE_PX


def test_back_leaves_a_page_in_one_press_and_titles_stand_high(page: Any, server: Server) -> None:
    visit(page, server)
    for name in PAGES:
        go(page, name)
        if name == "Schedulers":  # its defaults are written into the address
            wait_for(lambda: "schedules=" in page.url, "the default schedules in the address")
        expect(page.locator("h1")).to_have_count(1)
        wait_for(lambda: stands_high(page), f"the title of {name} begins below {HIGHEST_TITLE_PX} px")
        page.go_back()
        wait_for(lambda: page.title() == "Overview · Lab", "Overview again after Back")


def test_back_takes_a_choice_back(page: Any, server: Server) -> None:
    visit(page, server, "schedulers")
    wait_for(lambda: "schedules=" in page.url, "the default schedules in the address")
    before = address(page, server)
    page.get_by_text("Samplers", exact=True).first.click()
    wait_for(lambda: "view=Samplers" in page.url, "the choice in the address")
    page.go_back()
    wait_for(lambda: address(page, server) == before, lambda: f"{before} again, not {page.url}")
    chosen = page.get_by_role("radio", name="Schedules", exact=True)
    expect(chosen).to_have_attribute("aria-checked", "true")


def test_a_link_within_a_page_changes_the_address_and_back_returns(page: Any, server: Server) -> None:
    store = RunStore(server.folder / "runs")
    vae = make_run(store, "vae", name="encoder")
    unet = make_run(store, name="denoiser", parents=(vae.id,))
    visit(page, server, f"runs?run={unet.id}")
    page.get_by_role("link", name="Its VAE: encoder").click()
    expect(page.get_by_role("heading", name="encoder")).to_be_visible()
    wait_for(lambda: address(page, server) == f"/runs?run={vae.id}", lambda: f"the VAE's address, not {page.url}")
    page.go_back()
    expect(page.get_by_role("heading", name="denoiser")).to_be_visible()
    page.get_by_role("link", name="Runs", exact=True).first.click()
    expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
    wait_for(lambda: address(page, server) == "/runs", lambda: f"the list's address, not {page.url}")
