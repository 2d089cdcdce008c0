"""The Runs screen in a browser: ticks that stay with their runs, a page that survives a late tick, notifications."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.runs.run import RunState
from core.runs.store import RunStore
from tests.browser.conftest import Server, drawn_again, expect, in_chromium, settle, visit, wait_for
from tests.pages.run_folders import finished, make_run

pytestmark = in_chromium
LISTENS = """
window.told = []
window.Notification = class {
  static permission = 'default'
  static async requestPermission() { return (Notification.permission = 'granted') }
  constructor(title, { body, tag }) { window.told.push([title, body, tag]) }
}
document.hasFocus = () => false
"""


def tick(page: Any, row: int) -> None:
    box = page.get_by_test_id("stDataFrame").bounding_box()
    page.mouse.click(box["x"] + 17, box["y"] + 36 + 40 * row + 20)


def test_ticks_stay_with_their_runs_when_a_new_one_comes_and_the_link_compares_them(page: Any, server: Server) -> None:
    store = RunStore(server.folder / "runs")
    runs = [make_run(store, name=f"run {number}", owner="ana") for number in range(4)]
    visit(page, server, "runs")
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    settle(page)
    before = page.get_by_test_id("stDataFrame").bounding_box()
    tick(page, 0)
    expect(page.get_by_text("1 ticked")).to_be_visible()
    assert page.get_by_test_id("stDataFrame").bounding_box() == before, "the bar of the ticked moved the table"
    make_run(store, name="newest", owner="ana")
    wait_for(lambda: "newest" in (page.get_by_test_id("stDataFrame").last.text_content() or ""), "it is not listed")
    settle(page)
    tick(page, 3)
    expect(page.get_by_text("2 ticked")).to_be_visible()
    page.get_by_role("link", name="Compare 2").click()
    page.wait_for_url("**/runs?compare=*")
    assert page.url.endswith(f"compare={runs[3].id}%2C{runs[1].id}")


def test_a_click_on_a_row_opens_the_run(page: Any, server: Server) -> None:
    run = make_run(RunStore(server.folder / "runs"), name="the one", owner="ana")
    visit(page, server, "runs")
    expect(page.get_by_test_id("data-grid-canvas")).to_be_visible()
    settle(page)
    box = page.get_by_test_id("stDataFrame").bounding_box()
    page.mouse.click(box["x"] + 200, box["y"] + 56)
    page.wait_for_url(f"**/runs?run={run.id}")
    expect(page.get_by_role("heading", name="the one")).to_be_visible()


def test_the_browser_tells_when_a_run_ends_once_it_was_asked_to(page: Any, server: Server) -> None:
    run = make_run(RunStore(server.folder / "runs"), name="First", owner="ana", state=RunState.RUNNING, step=40)
    page.add_init_script(LISTENS)
    visit(page, server, f"runs?run={run.id}")
    page.get_by_role("button", name="Notify me").click()
    expect(page.get_by_role("button", name="You will be notified")).to_be_visible()
    drawn_again(page)
    assert page.evaluate("window.told") == []
    run.write_status(replace(run.status(), state=RunState.FAILED, reason="disk full", process=None))
    wait_for(lambda: page.evaluate("window.told.length") == 1, "nothing was told")
    title, body, tag = page.evaluate("window.told[0]")
    assert (title, body) == ("First", "First failed: disk full")
    assert tag.startswith(run.id)
    expect(page.get_by_test_id("stToast")).to_contain_text("First failed: disk full")
    drawn_again(page)
    assert page.evaluate("window.told.length") == 1


def test_a_late_question_of_the_page_that_was_left_does_not_empty_the_new_one(page: Any, server: Server) -> None:
    store = RunStore(server.folder / "runs")
    finished(store)
    make_run(store, name="Live", owner="ana", state=RunState.RUNNING, step=40)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    visit(page, server)
    for _ in range(6):
        page.get_by_role("link", name="Live", exact=True).click()
        expect(page.get_by_role("heading", name="Live")).to_be_visible()
        page.get_by_role("link", name="Overview").click()
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    assert errors == []
