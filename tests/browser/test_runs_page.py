"""The Runs screen in a browser: links and ticks that stay with their runs, a late tick, notifications."""

from __future__ import annotations

import re
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


def row(page: Any, name: str) -> Any:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def places(page: Any, names: list[str]) -> list[Any]:
    """How far down the rows stand: their width follows the ages, which grow."""
    return [(row(page, name).bounding_box() or {}).get("y") for name in names]


def test_ticks_stay_with_their_runs_when_a_new_one_comes_and_the_link_compares_them(page: Any, server: Server) -> None:
    store = RunStore(server.folder / "runs")
    runs = [make_run(store, name=f"run {number}", owner="ana") for number in range(4)]
    names = [run.info.name for run in runs]
    visit(page, server, "runs")
    box = page.get_by_role("checkbox", name="Tick run 3", exact=True)
    expect(box).to_be_visible()
    settle(page)
    before = places(page, names)
    box.click()
    expect(page.get_by_text("1 ticked")).to_be_visible()
    wait_for(lambda: places(page, names) == before, "the bar of the ticked moved a row")
    make_run(store, name="newest", owner="ana")
    page.mouse.move(600, 100)
    expect(row(page, "newest")).to_be_visible()
    expect(box).to_be_checked()
    expect(page.get_by_role("checkbox", name="Tick newest", exact=True)).not_to_be_checked()
    page.get_by_role("checkbox", name="Tick run 1", exact=True).click()
    expect(page.get_by_text("2 ticked")).to_be_visible()
    page.get_by_role("link", name="Compare 2").click()
    page.wait_for_url("**/compare?runs=*")
    expect(page).to_have_url(re.compile(f"runs={runs[3].id}%2C{runs[1].id}$"))


def test_names_are_links_heads_sort_and_the_keyboard_reaches_both(page: Any, server: Server) -> None:
    store = RunStore(server.folder / "runs")
    runs = {name: make_run(store, name=name, owner="ana") for name in ("bravo", "alpha", "charlie")}
    visit(page, server, "runs")
    link = page.get_by_role("link", name="alpha", exact=True)
    expect(link).to_have_js_property("href", f"{server.address}/runs?run={runs['alpha'].id}")
    with page.context.expect_page() as opened:
        link.click(button="middle")
    expect(opened.value.get_by_role("heading", name="alpha")).to_be_visible()
    opened.value.close()
    expect(page).to_have_url(f"{server.address}/runs")
    head = page.get_by_role("columnheader", name="name")
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    settle(page)
    expect(page.get_by_role("table", name="Runs").get_by_role("link")).to_have_text(["alpha", "bravo", "charlie"])
    expect(page).to_have_url(f"{server.address}/runs?order=name")
    page.get_by_role("checkbox", name="Tick alpha", exact=True).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    expect(page.get_by_role("checkbox", name="Tick bravo", exact=True)).to_be_checked()
    expect(page.get_by_text("1 ticked")).to_be_visible()
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs?run={runs['alpha'].id}")
    expect(page.get_by_role("heading", name="alpha")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("checkbox", name="Tick bravo", exact=True)).to_be_checked()


def test_the_browser_tells_when_a_run_ends_once_it_was_asked_to(page: Any, server: Server) -> None:
    run = make_run(RunStore(server.folder / "runs"), name="First", owner="ana", state=RunState.RUNNING, step=40)
    page.add_init_script(LISTENS)
    visit(page, server, f"runs?run={run.id}")
    page.get_by_role("button", name="Notify me").click()
    expect(page.get_by_role("button", name="You will be notified")).to_be_visible()
    drawn_again(page)
    wait_for(lambda: page.evaluate("window.told") == [], "something is told that did not happen")
    run.write_status(replace(run.status(), state=RunState.FAILED, reason="disk full", process=None))
    wait_for(lambda: page.evaluate("window.told.length") == 1, "nothing was told")
    title, body, tag = page.evaluate("window.told[0]")
    assert (title, body) == ("First", "First failed: disk full")
    assert tag.startswith(run.id)
    expect(page.get_by_test_id("stToast")).to_contain_text("First failed: disk full")
    drawn_again(page)
    wait_for(lambda: page.evaluate("window.told.length") == 1, "it was told again")


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
