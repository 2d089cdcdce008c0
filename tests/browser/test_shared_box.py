"""Two people, two browsers, one box with one place: start, queue, confirm, stop, resume, delete, restore."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from core.jobs.engines.choose import observed_status
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from tests.browser.conftest import Server, expect, from_menu, in_chromium, person, settle, shot, visit, wait_for
from tests.browser.test_first_light import choose, fill
from tests.core.jobs.conftest import STANDIN
from tests.endings import end_lab
from tests.supervisor_thread import SupervisorThread

pytestmark = in_chromium


@pytest.fixture
def standins(server: Server) -> Iterator[None]:
    """Trainings count steps and learn nothing: what they cost is nothing to two people."""
    store = RunStore(server.folder / "runs")
    thread = SupervisorThread(store, STANDIN)
    yield
    shims = thread.close()
    end_lab(store)
    for shim in shims:
        shim.wait()


def train(opened: Any, server: Server, name: str, steps: int) -> Run:
    """Start a VAE run from the Train page; a hasty double click must not make two."""
    store = RunStore(server.folder / "runs")
    before = {run.id for run in store.list()}
    visit(opened, server, "train?what=VAE+only")
    choose(opened, "scikit-learn")
    fill(opened, "VAE steps", str(steps))
    fill(opened, "Run name", name)
    expect(opened.get_by_label("Run name", exact=True).first).to_have_value(name)
    settle(opened)
    opened.get_by_role("button", name=re.compile("^(Start|Queue)")).dblclick()
    expect(opened.get_by_role("heading", name=name)).to_be_visible()
    made = [run for run in store.list() if run.id not in before]
    assert len(made) == 1, "a double click started it twice"
    return made[0]


def stop(opened: Any) -> None:
    settle(opened)
    opened.get_by_role("button", name="Stop", exact=True).click()


def events(run: Run, word: str) -> list[str]:
    return [str(event.get("by")) for event in run.events() if event.get("event") == word]


def test_two_people_share_one_box(page: Any, server: Server, standins: None) -> None:
    ana, ben = person(page, server, "Ana"), person(page, server, "Ben")
    first = train(ana, server, "Ana's VAE", 100_000)
    wait_for(lambda: observed_status(first).state is RunState.RUNNING and first.status().step > 5, "it never trained")
    assert first.info.owner == "Ana"

    second = train(ben, server, "Ben's VAE", 10)
    assert second.info.owner == "Ben"
    expect(ben.get_by_text(re.compile("Next in the queue|Place 1"))).to_be_visible()
    assert observed_status(second).state is RunState.QUEUED
    shot(ben, "shared-1-waits")

    visit(ben, server, f"runs?run={first.id}")
    stop(ben)
    expect(ben.get_by_text("Stop a run of Ana?")).to_be_visible()
    shot(ben, "shared-2-asks")
    ben.locator(".st-key-confirm-no button").click()
    expect(ben.get_by_text("Stop a run of Ana?")).to_have_count(0)
    assert events(first, "stop requested") == []
    stop(ben)
    ben.locator(".st-key-confirm-yes button").click()
    expect(ben.get_by_text(re.compile("stopped · VAE")).first).to_be_visible()
    assert events(first, "stop requested") == ["Ben"]
    step = first.status().step
    assert first.status().reason == f"stopped by Ben at step {step:,}; the last checkpoint is of step {step:,}"
    expect(ben.get_by_text("process gone").first).to_be_visible()
    expect(ben.get_by_text(f"checkpoint of step {step:,} saved").first).to_be_visible()
    shot(ben, "shared-3-stopped")

    wait_for(lambda: second.status().state is RunState.FINISHED, "the place was not given to who waited")
    visit(ana, server, f"runs?run={first.id}")
    settle(ana)
    ana.get_by_role("button", name="Resume").click()
    wait_for(lambda: first.status().state is RunState.RUNNING and first.status().step > step, "it did not go on")
    expect(ana.get_by_text(re.compile("running · VAE")).first).to_be_visible()
    stop(ana)
    expect(ana.get_by_text(re.compile("stopped · VAE")).first).to_be_visible()
    assert events(first, "stop requested") == ["Ben", "Ana"]

    visit(ana, server, f"runs?run={first.id}")
    expect(ana.get_by_text("process gone").first).to_be_visible()
    menu = ana.get_by_role("button", name="more_vert")
    from_menu(ana, menu, ana.get_by_role("button", name="Delete"), lambda: not first.folder.exists(), "it is there")
    shot(ana, "shared-4-deleted")
    ana.get_by_role("button", name="Undo").click()
    wait_for(lambda: first.folder.exists() and events(first, "restored") == ["Ana"], "it is not brought back")
    assert events(first, "deleted") == ["Ana"]

    visit(ben, server, f"runs?run={first.id}")
    menu, asked = ben.get_by_role("button", name="more_vert"), ben.get_by_text("Delete a run of Ana?")
    from_menu(ben, menu, ben.get_by_role("button", name="Delete").first, asked.is_visible, "nobody asks")
    ben.locator(".st-key-confirm-yes button").click()
    wait_for(lambda: not first.folder.exists(), "it is not deleted")
    visit(ana, server, "machine")
    ana.get_by_role("tab", name=re.compile("Trash")).click()
    expect(ana.get_by_text("Ana's VAE").first).to_be_visible()
    shot(ana, "shared-5-trash")
    ana.get_by_role("button", name="Restore").first.click()
    wait_for(lambda: first.folder.exists(), "the machine page does not restore")
    assert events(first, "deleted") == ["Ana", "Ben"]
