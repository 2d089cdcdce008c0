"""The Data page in a real browser: a zip of one's own becomes a data set, and what is no set gets one sentence."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.browser.conftest import Server, expect, in_chromium, shot, visit, wait_for

pytestmark = in_chromium


def picture_zip(path: Path) -> Path:
    """Two classes of 30 coloured pictures each."""
    draw = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("leaf", "stone"):
            for number in range(30):
                buffer = io.BytesIO()
                Image.fromarray(draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(buffer, "PNG")
                archive.writestr(f"{name}/{number:02d}.png", buffer.getvalue())
    return path


def look_at(page: Any, file: Path, name: str) -> None:
    """Fill the form and look at it; nothing may be imported before."""
    expect(page.get_by_role("button", name="Import")).to_be_disabled()
    page.locator("input[type=file]").first.set_input_files(file)
    expect(page.get_by_text(file.name).first).to_be_visible()
    page.get_by_role("textbox", name="Name", exact=True).fill(name)
    page.get_by_role("button", name="Look at it first").click()


def test_a_zip_becomes_a_set_and_nonsense_one_sentence(page: Any, server: Server, tmp_path: Path) -> None:
    imports = tmp_path / "imports"
    visit(page, server, "data?add=1")
    nonsense = tmp_path / "nonsense.zip"
    nonsense.write_bytes(b"no archive at all")
    look_at(page, nonsense, "nonsense")
    expect(page.get_by_test_id("stAlert").filter(has_text="zip").first).to_be_visible()
    assert not imports.is_dir() or list(imports.iterdir()) == []
    visit(page, server, "data?add=1")
    look_at(page, picture_zip(tmp_path / "stones.zip"), "stones")
    expect(page.get_by_text("2, from the directories in the folder")).to_be_visible()
    expect(page.get_by_test_id("gallery").get_by_text("leaf")).to_be_visible()
    shot(page, "data-reading")
    assert not imports.is_dir() or list(imports.iterdir()) == []
    page.get_by_role("button", name="Import").click()
    wait_for((imports / "stones").is_dir, "the zip did not become a set")
    visit(page, server, "data?set=stones")
    expect(page.get_by_text("leaf").first).to_be_visible()
    expect(page.get_by_text("60").first).to_be_visible()
    shot(page, "data-imported")
