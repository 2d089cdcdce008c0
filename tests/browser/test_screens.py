"""What only a browser shows: where it sends requests, a zoom that survives new data, a name that is remembered."""

from __future__ import annotations

from typing import Any

import pytest

from core.runs.metrics import MetricsWriter
from core.runs.run import RunState
from core.runs.store import RunStore
from tests.browser.conftest import Server, drawn_again, expect, in_chromium, shot, typed, visit, wait_for
from tests.pages.run_folders import hostile, make_run

pytestmark = in_chromium
POINTS = "() => Math.max(0, ...(document.querySelector('.js-plotly-plot')?.calcdata ?? []).map((t) => t.length))"
RANGE = "() => document.querySelector('.js-plotly-plot')?.layout.xaxis.range"


def outside(page: Any, server: Server) -> list[str]:
    """Addresses other than the server's that the page asks for from now on."""
    asked: list[str] = []
    own = (f"http://127.0.0.1:{server.port}", f"ws://127.0.0.1:{server.port}", "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(own) else asked.append(request.url))
    return asked


def test_no_name_makes_the_browser_ask_another_machine(page: Any, server: Server) -> None:
    runs = hostile(RunStore(server.folder / "runs"))
    asked = outside(page, server)
    for path in (
        "",
        "train",
        "runs",
        "generate",
        *(f"runs?run={run.id}" for run in runs[:2]),
        "runs?run=![x](http://x/)",
    ):
        visit(page, server, path)
        page.wait_for_load_state("networkidle")
        led_away = "a[href*='198.51.100.7'], a[href*='javascript:'], img[src*='198.51.100.7']"
        expect(page.locator(led_away)).to_have_count(0)
        expect(page.locator("h1 .katex, h1 strong, h1 code, h1 img")).to_have_count(0)
        if path == "runs":
            shot(page, "hostile-runs")
    assert asked == []


def test_a_zoom_survives_new_steps_and_can_be_undone(page: Any, server: Server) -> None:
    store = RunStore(server.folder / "runs")
    run = make_run(store, state=RunState.RUNNING, step=400, steps_total=800, logged=400)
    visit(page, server, f"runs?run={run.id}")
    page.get_by_test_id("chart").hover()
    plot = page.locator(".js-plotly-plot").first
    expect(plot).to_be_visible()
    wait_for(lambda: page.evaluate(POINTS) == 400, "the curve is not drawn")
    box = plot.locator(".nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2, steps=8)
    page.mouse.up()
    expect(page.get_by_role("button", name="Whole run")).to_be_visible()
    wait_for(lambda: page.evaluate(POINTS) < 250, "the zoom did not happen")
    chosen, points = page.evaluate(RANGE), page.evaluate(POINTS)
    assert chosen[0] == pytest.approx(80, abs=20)  # a tenth of 800: the run is half done, its axis is whole
    assert chosen[1] == pytest.approx(240, abs=20)
    writer = MetricsWriter(run.metrics_path)
    for step in range(401, 500):
        writer.append({"step": step, "loss": 0.05, "learning_rate": 1e-3, "grad_norm": 0.5})
    drawn_again(page)
    wait_for(lambda: page.evaluate(RANGE) == chosen, "new steps lost the zoom")
    wait_for(lambda: page.evaluate(POINTS) == points, "new steps changed what is zoomed to")
    shot(page, "zoomed")
    page.get_by_role("button", name="Whole run").click()
    wait_for(lambda: page.evaluate(POINTS) == 499, "the whole run is not shown again")


def test_a_name_is_remembered_by_this_browser(page: Any, server: Server) -> None:
    visit(page, server)
    menu = page.locator(".st-key-lab-box").get_by_test_id("stPopover").get_by_role("button").first
    field, name = page.get_by_role("textbox", name="Your name"), "Ana Ünal; x=y"

    def opened() -> None:
        if not field.is_visible():
            menu.click()

    typed(page, field, name, lambda: name in menu.inner_text(), "the header shows no name", opened=opened)
    wait_for(lambda: "lab-who" in page.evaluate("document.cookie"), "no cookie was set")
    visit(page, server, "runs")
    expect(page.locator(".st-key-lab-box").get_by_test_id("stPopover").get_by_role("button").first).to_contain_text(
        "Ana Ünal; x=y"
    )
