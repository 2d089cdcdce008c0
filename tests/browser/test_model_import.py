"""Hostile model folders in a real browser: one sentence each, nothing left, the server alive; then a good one draws."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.config.schema import project_root
from core.model_folders.model_facts import DEMO
from tests.browser.conftest import IDLE, Server, expect, in_chromium, settle, shot, visit, wait_for
from tests.core.sampling.test_model_folder import HOSTILE

pytestmark = in_chromium
CASES = ("pickle in disguise", "truncated", "wrong shapes", "NaN", "huge header")
BY_PATH = CASES[:1]  # past the form, a path and an upload go the same way


def send(page: Any, path: Path, *, upload: bool) -> None:
    """Fill the form under Models of others, by upload or by path, and press Import."""
    form = page.get_by_test_id("stForm").filter(has_text="on this machine")
    if upload:
        form.locator("input[type=file]").set_input_files(path)
        expect(form.get_by_text(path.name).first).to_be_visible()
    else:
        form.get_by_role("textbox", name="or a folder or .zip on this machine").fill(str(path))
    form.get_by_role("button", name="Import").click()


def opened(page: Any, server: Server) -> None:
    visit(page, server, "generate")
    settle(page)  # what is typed while the page is drawn again can be lost
    page.get_by_text("Models of others").click()
    expect(page.get_by_role("textbox", name="or a folder or .zip on this machine")).to_be_visible()


@pytest.mark.parametrize("upload", [False, True], ids=["path", "upload"])
def test_hostile_models_are_refused_and_a_good_one_draws(
    page: Any, server: Server, tmp_path: Path, upload: bool
) -> None:
    shelf = tmp_path / "models"
    for number, (spoil, sentence) in enumerate(HOSTILE[case] for case in (CASES if upload else BY_PATH)):
        folder = Path(shutil.copytree(project_root() / DEMO, tmp_path / f"given-{number}"))
        spoil(folder)
        given = Path(shutil.make_archive(str(folder), "zip", folder)) if upload else folder
        opened(page, server)
        send(page, given, upload=upload)
        alert = page.get_by_test_id("stAlert").filter(has_text=sentence)
        expect(alert.first).to_be_visible()
        said = [line for line in alert.first.inner_text().splitlines() if line not in ("", "error")]  # the icon's name
        assert len(said) == 1
        assert not shelf.exists() or list(shelf.iterdir()) == []
        assert server.is_alive()
    shot(page, f"model-refused-{'upload' if upload else 'path'}")
    good = Path(shutil.copytree(project_root() / DEMO, tmp_path / "good"))
    shutil.rmtree(good / "lab")  # as plain diffusers has it
    (good / "lab.json").unlink()
    given = Path(shutil.make_archive(str(good), "zip", good)) if upload else good
    opened(page, server)
    send(page, given, upload=upload)
    wait_for((shelf / "good").is_dir, "the good model was not imported")
    page.wait_for_url("**run=model*good*")
    page.wait_for_selector(IDLE)
    expect(page.get_by_role("button", name="PNG").first).to_be_visible()
    assert json.loads((shelf / "good" / "lab.json").read_text())
    assert "Traceback" not in server.log
    shot(page, f"model-imported-{'upload' if upload else 'path'}")
