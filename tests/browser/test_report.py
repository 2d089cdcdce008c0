"""A report in a real browser, opened from disk with the network cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.handround.report import report_html
from core.runs.store import RunStore
from tests.browser.conftest import expect, in_chromium, new_page
from tests.pages.run_folders import HOSTILE_NAMES, make_run

pytestmark = in_chromium
PLACE = "(frame) => getComputedStyle(frame).backgroundPosition"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_asks_for_nothing_makes_no_error_and_its_sliders_move_the_images(
    browser: Any, tmp_path: Path, scheme: str
) -> None:
    store = RunStore(tmp_path / "runs")
    runs = [make_run(store, name=name[:120]) for name in HOSTILE_NAMES[:3]]
    file = tmp_path / "report.html"
    file.write_bytes(report_html(store, runs))
    page = new_page(browser, offline=True, color_scheme=scheme)
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    for axis, words in (("Training", "step 0 of 100"), ("Denoising", "denoising step 1 of")):
        slider = page.get_by_role("slider", name=f"{axis} step")
        section = page.locator("section.player").filter(has=slider)
        frame = section.locator(".frame").first
        before = frame.evaluate(PLACE)
        slider.focus()
        page.keyboard.press("Home")
        expect(section.locator("figcaption small").first).to_contain_text(words)
        expect(frame).not_to_have_css("background-position", before)
        section.get_by_role("button", name="Play").click()
        expect(section.locator("figcaption small").first).not_to_contain_text(words)
    assert asked == [file.as_uri()] and complaints == []
    page.context.close()
