"""Two people at one box whose GPU somebody else fills: who waits sees why, and nobody touches another's run unasked."""

from __future__ import annotations

import getpass
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.config.load import load_config
from core.jobs.engines.choose import observed_status
from core.jobs.engines.local import LocalEngine
from core.jobs.queue import Queue
from core.runs.run import Run
from core.runs.store import RunStore
from tests.browser.conftest import (
    Server,
    drawn_again,
    expect,
    from_menu,
    in_chromium,
    person,
    shot,
    typed,
    visit,
    wait_for,
)

pytestmark = in_chromium
GB = 10**9


@pytest.fixture(autouse=True)
def stranger(lab_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A process that is not ours on the only GPU: the server and its supervisor see both through a recorded NVML."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    gpu = {
        "uuid": "GPU-recorded",
        "name": "NVIDIA H100",
        "memory_total": 80 * GB,
        "memory_used": 71 * GB,
        "memory_reserved": GB // 2,
        "utilization": 97,
        "temperature": 70,
        "power": 500_000,
        "processes": [{"pid": process.pid, "memory": 70 * GB}],
    }
    (lab_folders / "nvml.json").write_text(json.dumps({"gpus": [gpu]}))
    monkeypatch.setenv("LAB_NVML_RECORDING", str(lab_folders / "nvml.json"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield process.pid
    process.kill()
    process.wait()


@pytest.fixture
def waiting(server: Server) -> list[Run]:
    """Two runs of Ana in the queue, which the full GPU keeps there."""
    store = RunStore(server.folder / "runs")
    settings = load_config(overrides={"data.name": "digits", "data.image_size": 16, "machine.device": "cuda"})
    runs = [store.create("vae", settings, name=name, owner="Ana") for name in ("First", "Second")]
    LocalEngine(store).submit(runs)
    return runs


def at_the_machine(page: Any, server: Server, name: str) -> Any:
    """The machine page as a person of that name sees it ('' for none yet)."""
    opened = person(page, server, name)
    visit(opened, server, "machine")
    expect(opened.get_by_role("button", name="More")).to_have_count(2)
    return opened


def events(run: Run) -> list[tuple[str, str]]:
    return [(str(event.get("event")), str(event.get("by"))) for event in run.events()]


def order(store_root: Path) -> list[str]:
    return [job.run_id for job in Queue(store_root).jobs()]


def asks_to_take_out(opened: Any, run: Run) -> None:
    menu = opened.locator(f".st-key-queue-menu-{run.id}").get_by_role("button")
    entry, dialog = opened.get_by_text("Take out", exact=True).first, opened.get_by_test_id("stDialog")
    from_menu(opened, menu, entry, dialog.is_visible, "the menu does not ask whether to take the run out")


def test_the_box_of_two_people(page: Any, server: Server, waiting: list[Run], stranger: int) -> None:
    first, second = waiting
    ana, new = at_the_machine(page, server, "Ana"), at_the_machine(page, server, "")
    expect(new.get_by_text("No room: others fill every device.")).to_be_visible()
    expect(new.get_by_text(f"pid {stranger}", exact=False)).to_be_visible()
    expect(new.get_by_text(getpass.getuser(), exact=True).first).to_be_visible()

    ana.locator(f".st-key-queue-up-{second.id}").get_by_role("button").click()
    wait_for(lambda: order(first.folder.parent) == [second.id, first.id], "her own run did not move at once")
    wait_for(lambda: ("moved in the queue", "Ana") in events(second), "the move is not on record")
    # an open menu closes when its row moves: the other browser shall have seen the move
    expect(new.locator(f".st-key-queue-up-{second.id}").get_by_role("button")).to_be_disabled()

    asks_to_take_out(new, first)
    dialog = new.get_by_test_id("stDialog")
    expect(dialog.get_by_text("Take out a run of Ana?")).to_be_visible()
    drawn_again(new)  # the page behind it
    expect(dialog).to_be_visible()
    shot(new, "machine-confirm")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert observed_status(first).state == "queued"

    asks_to_take_out(new, first)
    is_named = dialog.get_by_text("Bob", exact=True).is_visible
    typed(new, dialog.get_by_label("Your name"), "Bob", is_named, "the window does not take a name")
    dialog.get_by_role("button", name="Take out").click()
    wait_for(lambda: observed_status(first).state == "stopped", "it was not taken out")
    assert any(by == "Bob" for _, by in events(first))
    expect(new.get_by_role("button", name="More")).to_have_count(1)
    expect(ana.get_by_role("button", name="More")).to_have_count(1)
    expect(new.locator(".st-key-lab-box").get_by_test_id("stPopover")).to_contain_text("Bob")
    wait_for(lambda: "lab-who=Bob" in new.evaluate("document.cookie"), "the name is not remembered")

    queue = Queue(first.folder.parent)
    menu = ana.locator(f".st-key-queue-menu-{second.id}").get_by_role("button")
    from_menu(
        ana, menu, ana.get_by_text("Hold", exact=True), lambda: queue.job(second.id).state == "paused", "it is not held"
    )
    expect(new.get_by_text("on hold")).to_be_visible()
