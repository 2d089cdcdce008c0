"""The film in a real browser: two sliders and the keys move its pictures, it plays along either axis, and it grows."""

from __future__ import annotations

from typing import Any

from core.runs.run import RunState
from core.runs.store import RunStore
from tests.browser.conftest import PICTURE, Server, expect, in_chromium, press, settle, shot, visit
from tests.pages.run_folders import make_run, write_preview

pytestmark = in_chromium


def test_two_sliders_move_the_film_it_plays_along_either_and_follows_the_training(page: Any, server: Server) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    run = make_run(RunStore(server.folder / "runs"), state=RunState.RUNNING, step=40)
    visit(page, server, f"generate?view=Film&run={run.id}")
    film = page.locator('.film[data-ready="1"]')
    expect(film).to_be_visible()
    training, denoising = (page.get_by_role("slider", name=f"{axis} step") for axis in ("Training", "Denoising"))
    canvas = page.get_by_role("img", name="Current sample (noisy)")
    expect(page.get_by_text("step 40 of 100")).to_be_visible()
    settle(page)
    last = canvas.evaluate(PICTURE)
    press(page, training, "Home", lambda: canvas.evaluate(PICTURE) != last, "the training does not change the picture")
    expect(page.get_by_text("step 0 of 100")).to_be_visible()
    denoising.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_text("t = 999")).to_be_visible()
    page.keyboard.press("ArrowDown")  # the training, from either slider
    expect(page.get_by_text("step 20 of 100")).to_be_visible()
    page.get_by_role("button", name="Play the training").click()
    expect(film).to_have_attribute("data-time", "2")
    page.get_by_role("button", name="Play the denoising").click()
    expect(film).to_have_attribute("data-frame", "1")
    expect(film).to_have_attribute("data-playing", "")
    shot(page, "film")
    write_preview(run, 60)
    expect(page.get_by_text("step 60 of 100")).to_be_visible()
    assert complaints == []
