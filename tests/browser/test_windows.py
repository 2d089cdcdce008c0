"""A window and what is typed in it survive ticks and the end of the run behind it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from core.runs.notes import read_notes
from core.runs.run import RunState
from core.runs.store import RunStore
from tests.browser.conftest import Server, drawn_again, expect, from_menu, in_chromium, visit
from tests.pages.run_folders import make_run, write_checkpoint

pytestmark = in_chromium


def test_a_note_being_typed_survives_the_end_of_the_run(page: Any, server: Server) -> None:
    run = make_run(RunStore(server.folder / "runs"), name="First", owner="ana", state=RunState.RUNNING, step=40)
    visit(page, server, f"runs?run={run.id}")
    entry = page.get_by_role("button", name="Name, tags and notes")
    opened = page.get_by_test_id("stDialog").is_visible
    from_menu(page, page.get_by_role("button", name="more_vert"), entry, opened, "the window does not open")
    page.get_by_label("Notes", exact=True).fill("half a thought")
    run.write_status(replace(run.status(), state=RunState.FAILED, reason="disk full", process=None))
    expect(page.get_by_test_id("stToast")).to_be_visible()  # it must not take the window's place
    drawn_again(page, 3)
    expect(page.get_by_label("Notes", exact=True)).to_have_value("half a thought")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_test_id("stDialog")).to_have_count(0)
    expect(page.get_by_text("Disk full").first).to_be_visible()
    assert read_notes(run).notes == "half a thought"


def test_a_question_stays_open_across_ticks_and_the_end_of_the_run(page: Any, server: Server) -> None:
    run = make_run(RunStore(server.folder / "runs"), name="First", owner="bo", state=RunState.RUNNING, step=40)
    visit(page, server, f"runs?run={run.id}")
    page.get_by_role("button", name="Stop").click()
    question = page.get_by_test_id("stDialog")
    expect(question).to_contain_text("Stop a run of bo?")
    drawn_again(page, 3)
    expect(page).to_have_title("Run First · 40 % · Lab")
    run.write_status(replace(run.status(), state=RunState.FINISHED, step=100, process=None))
    expect(page.get_by_test_id("stToast")).to_be_visible()  # it must not take the window's place
    drawn_again(page, 3)
    expect(question).to_contain_text("Stop a run of bo?")
    page.get_by_role("button", name="Cancel").click()
    expect(question).to_have_count(0)
    expect(page.get_by_text("finished").first).to_be_visible()
    expect(page).to_have_title("Run First · Lab")


def test_an_evaluation_started_in_its_window_is_followed_in_its_tab(page: Any, server: Server) -> None:
    run = make_run(RunStore(server.folder / "runs"), name="First", owner="ana")
    write_checkpoint(run, 100)
    visit(page, server, f"runs?run={run.id}&tab=Overview")
    page.get_by_role("button", name="Evaluate").click()
    window = page.get_by_test_id("stDialog")
    window.get_by_role("button", name=re.compile("(Start|Queue) evaluation")).click()
    expect(window).to_have_count(0)
    expect(page).to_have_url(re.compile("tab=Evaluation"))
    expect(page.get_by_role("link", name="evaluation of First").first).to_be_visible()
