"""A chart in Chromium: lines need no Plotly until somebody points at them; then a tick draws into the same node."""

from __future__ import annotations

from typing import Any

import pytest

from core.runs.metrics import MetricsWriter
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.browser.conftest import Server, expect, in_chromium, visit, wait_for
from tests.pages.run_folders import make_run

pytestmark = in_chromium
PLOT = ".js-plotly-plot"
POINTS = "() => document.querySelector('.js-plotly-plot')?.calcdata?.at(-1)?.length"
RANGE = "() => document.querySelector('.js-plotly-plot')?.layout.xaxis.range"
MARK = (
    "() => document.querySelectorAll('.js-plotly-plot, .js-plotly-plot .main-svg').forEach((each) => each.mine = true)"
)
MARKED = "() => [...document.querySelectorAll('.js-plotly-plot, .js-plotly-plot .main-svg')].every((each) => each.mine)"
FITS = """() => {
  const drawn = document.querySelector('.lab-chart .sketch svg'), room = drawn?.parentElement?.clientWidth
  return room > 0 && Math.abs(drawn.clientWidth - room) < 2
}"""  # in one script: between two, a sketch is replaced by the next


@pytest.fixture
def live(server: Server) -> Run:
    store = RunStore(server.folder / "runs")
    return make_run(store, state=RunState.RUNNING, step=400, steps_total=800, logged=400)


def more_steps(run: Run, first: int, last: int, loss: float = 0.05) -> None:
    writer = MetricsWriter(run.metrics_path)
    for step in range(first, last + 1):
        writer.append({"step": step, "loss": loss, "learning_rate": 1e-3, "grad_norm": 0.5})


def rates(page: Any, server: Server, run: Run) -> Any:
    """The charts of the tab Metrics, drawn; the first, of the learning rate, has no averaged line."""
    visit(page, server, f"runs?run={run.id}&tab=Metrics")
    chart = page.get_by_test_id("chart").first
    expect(chart.locator("svg path.js-line").first).to_be_visible()
    expect(page.locator(PLOT)).to_have_count(0)
    chart.hover()
    expect(chart.locator(".main-svg").first).to_be_visible()
    return chart


def test_a_tick_draws_into_the_same_chart_and_asks_plotly_once(page: Any, server: Server, live: Run) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "plotly" in request.url.lower() else None)
    rates(page, server, live)
    assert len(asked) == 1
    page.evaluate(MARK)
    for last in (450, 500):
        more_steps(live, last - 49, last)
        wait_for(lambda last=last: page.evaluate(POINTS) == last, f"step {last} is not drawn")
        wait_for(lambda: page.evaluate(MARKED), "the tick made the chart anew")
    assert len(asked) == 1
    page.locator(PLOT).evaluate("(plot) => plot.innerHTML += ''")  # as if it had been made again
    wait_for(lambda: not page.evaluate(MARKED), "a chart that is made again is taken for the same")


def test_the_keyboard_zooms_a_chart_and_a_tick_keeps_it(page: Any, server: Server, live: Run) -> None:
    chart = rates(page, server, live)
    chart.focus()
    page.keyboard.press("+")
    expect(page.get_by_role("button", name="Whole run")).to_be_visible()
    wait_for(lambda: page.evaluate(POINTS) == 201, "what is zoomed to, 200 to 600, is not drawn by itself")
    zoomed = page.evaluate(RANGE)
    page.evaluate(MARK)
    more_steps(live, 401, 450)
    wait_for(lambda: page.evaluate(POINTS) == 251, "no tick")
    wait_for(lambda: page.evaluate(RANGE) == zoomed, "the tick lost the zoom")
    wait_for(lambda: page.evaluate(MARKED), "the tick made the chart anew")
    page.keyboard.press("0")
    expect(page.get_by_role("button", name="Whole run")).to_have_count(0)


def test_a_chart_says_what_it_shows_and_that_it_could_not_be_drawn(page: Any, server: Server, live: Run) -> None:
    page.route("**/lab/plotly-*.js", lambda route: route.abort())
    visit(page, server, f"runs?run={live.id}")
    page.get_by_test_id("chart").hover()
    expect(page.get_by_role("alert").filter(has_text="This chart could not be shown")).to_be_visible()
    expect(page.get_by_role("group", name="Loss, lower is better")).to_be_visible()
    page.unroute("**/lab/plotly-*.js")
    more_steps(live, 401, 410)
    expect(page.locator(f"{PLOT} .main-svg").first).to_be_visible()
    expect(page.get_by_role("alert").filter(has_text="could not be shown")).to_have_count(0)


def test_lines_follow_the_ticks_and_the_window_without_plotly(page: Any, server: Server, live: Run) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "plotly" in request.url.lower() else None)
    visit(page, server, f"runs?run={live.id}")
    chart = page.get_by_test_id("chart")
    before = chart.locator("path.js-line").first.get_attribute("d")
    more_steps(live, 401, 450)
    wait_for(lambda: chart.locator("path.js-line").first.get_attribute("d") != before, "no tick")
    expect(chart.locator("text").filter(has_text="Loss, lower is better")).to_have_count(1)
    page.set_viewport_size({"width": 900, "height": 900})
    wait_for(lambda: page.evaluate(FITS), "the chart does not follow the window")
    assert asked == []


@pytest.mark.parametrize("loss", [1e300, 1e-300, 1e16])
def test_one_wild_loss_leaves_the_tab_alive(page: Any, server: Server, live: Run, loss: float) -> None:
    more_steps(live, 401, 401, loss)
    visit(page, server, f"runs?run={live.id}&tab=Metrics")
    charts = page.get_by_test_id("chart")
    expect(charts.first.locator("svg path.js-line").first).to_be_visible()
    for place in range(charts.count()):
        charts.nth(place).hover()
        expect(charts.nth(place).locator(".main-svg").first).to_be_visible()
    ticks = page.locator(".ytick")
    wait_for(lambda: 0 < ticks.count() < 30 * charts.count(), "far too many ticks, or none")
