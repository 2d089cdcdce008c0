"""The map of latents in a real browser: hovering shows pictures, clicks pick two, the walk is scrubbed."""

from __future__ import annotations

import re
from typing import Any

from core.runs.store import RunStore
from core.training import train_vae
from tests.browser.conftest import IDLE, Server, expect, in_chromium, shot, visit, wait_for
from tests.browser.test_schedulers import PICTURE, errors
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
    wait_for(lambda: cloud.get_attribute("data-ready") == "1", "the pictures of the map did not come")
    cloud.focus()
    page.keyboard.press("ArrowRight")
    assert cloud.get_attribute("data-hovered") == "0"
    tip = page.locator(".tip")
    expect(tip).to_be_visible()
    first = tip.locator("canvas").evaluate(PICTURE)
    page.keyboard.press("ArrowRight")
    assert tip.locator("canvas").evaluate(PICTURE) != first
    page.keyboard.press("Enter")  # picks picture 2 as B
    page.wait_for_url(re.compile(r"points=\d+-2(&|$)"))
    page.wait_for_selector(IDLE)
    page.keyboard.press("Escape")  # nothing is hovered until the mouse is over a picture
    box = page.locator(".cloud").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    nearest = ring_of_hovers(page, cloud, middle)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_url(re.compile(rf"points=2-{nearest + 1}(&|$)"))
    walk = page.get_by_test_id("scrubber").first
    wait_for(lambda: walk.get_attribute("data-ready") == "1", "the walk did not come")
    range_of = walk.locator("input[type=range]")
    range_of.focus()
    canvas = walk.locator("canvas.noisy")
    page.keyboard.press("Home")
    start = canvas.evaluate(PICTURE)
    page.keyboard.press("End")
    wait_for(lambda: canvas.evaluate(PICTURE) != start, "the walk stands still")
    shot(page, "latents-map")
    assert complaints == []


def test_the_map_in_space_turns_when_it_is_dragged(page: Any, server: Server) -> None:
    store = RunStore(server.folder / "runs")
    folders: dict[str, Any] = {"data_dir": server.folder / "data", "cache_dir": server.folder / "cache"}
    vae = store.create("vae", tiny_settings(**TINY), name="encoder")
    train_vae.train(vae, should_stop=lambda: False, store_root=store.root, **folders)
    visit(page, server, f"latents?run={vae.id}&view=Map&map-in=3-D")
    canvas = page.locator(".cloud")
    wait_for(lambda: page.locator(".scatter").get_attribute("data-ready") == "1", "the pictures did not come")
    before, link = canvas.evaluate(PICTURE), page.url
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 220, steps=4)
    page.mouse.up()
    assert canvas.evaluate(PICTURE) != before
    assert page.url == link  # turning picks nothing


def ring_of_hovers(page: Any, cloud: Any, middle: tuple[float, float]) -> int:
    """Go outwards from the middle until a picture is under the mouse; its number."""
    for reach in range(0, 220, 8):
        page.mouse.move(middle[0] + reach, middle[1] + reach / 3)
        page.wait_for_timeout(50)  # a move is told at the next display frame
        found = int(cloud.get_attribute("data-hovered"))
        if found >= 0:
            return found
    raise AssertionError("no picture under the mouse anywhere")
