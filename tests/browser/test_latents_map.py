"""The map of latents in a real browser: hovering shows pictures, clicks pick two, the walk is scrubbed."""

from __future__ import annotations

import contextlib
import re
from typing import Any

from core.runs.store import RunStore
from core.training import train_vae
from tests.browser.conftest import FRAMES, PICTURE, Server, expect, in_chromium, press, settle, shot, visit, wait_for
from tests.browser.test_schedulers import errors
from tests.pages.conftest import TINY
from tests.pages.run_folders import tiny_settings

pytestmark = in_chromium


def test_hovering_shows_pictures_and_two_clicks_are_walked_between(page: Any, server: Server) -> None:
    store = RunStore(server.folder / "runs")
    folders: dict[str, Any] = {"data_dir": server.folder / "data", "cache_dir": server.folder / "cache"}
    vae = store.create("vae", tiny_settings(**TINY), name="encoder")
    train_vae.train(vae, should_stop=lambda: False, store_root=store.root, **folders)
    complaints = errors(page)
    visit(page, server, f"latents?run={vae.id}&view=Map")
    cloud = page.locator(".scatter")
    expect(cloud).to_have_attribute("data-ready", "1")
    settle(page)
    wait_for(lambda: second_is_picked(page, cloud), "the keyboard does not show two pictures and pick the second")
    settle(page)
    wait_for(lambda: clicked_is_picked(page, cloud), "the mouse does not pick a picture")
    settle(page)  # the walk of the two points before stands there until the new one comes
    walk = page.get_by_test_id("scrubber").first
    expect(walk).to_have_attribute("data-ready", "1")
    range_of = walk.locator("input[type=range]")
    canvas = walk.locator("canvas.noisy")
    press(page, range_of, "Home", lambda: range_of.input_value() == "0", "the walk does not go back to its start")
    start = canvas.evaluate(PICTURE)
    press(page, range_of, "End", lambda: canvas.evaluate(PICTURE) != start, "the walk stands still")
    shot(page, "latents-map")
    assert complaints == []


def test_the_map_in_space_turns_when_it_is_dragged(page: Any, server: Server) -> None:
    store = RunStore(server.folder / "runs")
    folders: dict[str, Any] = {"data_dir": server.folder / "data", "cache_dir": server.folder / "cache"}
    vae = store.create("vae", tiny_settings(**TINY), name="encoder")
    train_vae.train(vae, should_stop=lambda: False, store_root=store.root, **folders)
    visit(page, server, f"latents?run={vae.id}&view=Map&map-in=3-D")
    canvas = page.locator(".cloud")
    expect(page.locator(".scatter")).to_have_attribute("data-ready", "1")
    settle(page)
    before, link = canvas.evaluate(PICTURE), page.url
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 220, steps=4)
    page.mouse.up()
    wait_for(lambda: canvas.evaluate(PICTURE) != before, "the map does not turn")
    expect(page).to_have_url(link)  # turning picks nothing


def second_is_picked(page: Any, cloud: Any) -> bool:
    """Go there by keys and pick it as B; begun again when the page drew itself again meanwhile, which forgets a key."""
    cloud.focus()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    tip = page.locator(".tip")
    if not tip.is_visible() or cloud.get_attribute("data-hovered") != "0":
        return False
    first = tip.locator("canvas").evaluate(PICTURE)
    page.keyboard.press("ArrowRight")
    if cloud.get_attribute("data-hovered") != "1" or tip.locator("canvas").evaluate(PICTURE) == first:
        return False
    page.keyboard.press("Enter")
    with contextlib.suppress(Exception):
        page.wait_for_url(re.compile(r"points=\d+-2(&|$)"), timeout=10_000)
        return True
    return False


def clicked_is_picked(page: Any, cloud: Any) -> bool:
    """Look for a picture with the mouse and click it; begun again when the page drew itself again meanwhile."""
    page.keyboard.press("Escape")  # nothing is hovered until the mouse is over a picture
    box = page.locator(".cloud").bounding_box()
    nearest = ring_of_hovers(page, cloud, (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2))
    if nearest < 0:
        return False
    page.mouse.down()
    page.mouse.up()
    with contextlib.suppress(Exception):
        page.wait_for_url(re.compile(rf"points=\d+-{nearest + 1}(&|$)"), timeout=10_000)
        return True
    return False


def ring_of_hovers(page: Any, cloud: Any, middle: tuple[float, float]) -> int:
    """Go outwards from the middle until a picture is under the mouse; its number, -1 for none."""
    for reach in range(0, 220, 6):
        page.mouse.move(middle[0] + reach, middle[1] + reach / 3)
        page.evaluate(FRAMES)  # a move is told at the next display frame
        found = int(cloud.get_attribute("data-hovered"))
        if found >= 0:
            return found
    return -1
