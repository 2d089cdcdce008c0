"""Hostile model folders in a real browser: one sentence each, nothing left, the server alive; then a good one draws."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from core.home import code_root
from core.model_folders.model_facts import DEMO
from tests.browser.conftest import IDLE, Server, expect, in_chromium, settle, shot, visit, wait_for
from tests.core.sampling.test_model_folder import HOSTILE

pytestmark = in_chromium
CASES = ("truncated", "huge header")  # the others are refused in the same way, see tests/core/sampling


def opened(page: Any, server: Server) -> Any:
    """The form under Imported models."""
    visit(page, server, "generate?run=model:mnist-demo&steps=1")  # its images are not what this is about
    settle(page)  # what is typed while the page is drawn again can be lost
    page.get_by_text("Imported models").click()
    form = page.get_by_test_id("stForm").filter(has_text="on this server")
    expect(form).to_be_visible()
    return form


def lines_of(alert: Any) -> list[str]:
    return [line for line in alert.inner_text().splitlines() if line not in ("", "error")]  # the icon's name


def send(form: Any, path: Path) -> None:
    """Upload a zip and press Import."""
    form.locator("input[type=file]").set_input_files(path)
    expect(form.get_by_text(path.name).first).to_be_visible()
    form.get_by_role("button", name="Import").click()


def test_hostile_models_are_refused_and_a_good_one_draws(page: Any, server: Server, tmp_path: Path) -> None:
    shelf = tmp_path / "models"
    for number, (spoil, sentence) in enumerate(HOSTILE[case] for case in CASES):
        folder = Path(shutil.copytree(code_root() / DEMO, tmp_path / f"given-{number}"))
        spoil(folder)
        send(opened(page, server), Path(shutil.make_archive(str(folder), "zip", folder)))
        alert = page.get_by_test_id("stAlert").filter(has_text=sentence)
        expect(alert.first).to_be_visible()
        wait_for(lambda alert=alert: len(lines_of(alert.first)) == 1, "the alert has more than one sentence")
        assert not shelf.exists() or list(shelf.iterdir()) == []
        assert server.is_alive()
    shot(page, "model-refused")
    good = Path(shutil.copytree(code_root() / DEMO, tmp_path / "good"))
    shutil.rmtree(good / "lab")  # as plain diffusers has it
    (good / "lab.json").unlink()
    send(opened(page, server), Path(shutil.make_archive(str(good), "zip", good)))
    wait_for((shelf / "good").is_dir, "the good model was not imported")
    page.wait_for_url("**run=model*good*")
    page.wait_for_selector(IDLE)
    expect(page.get_by_role("button", name="Save").first).to_be_visible()
    assert json.loads((shelf / "good" / "lab.json").read_text())
    assert "Traceback" not in server.log
    shot(page, "model-imported")
