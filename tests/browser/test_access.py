"""What axe-core says of every page but its contrast; that, and all states, are checked by benchmarks/access.py."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.access import violations
from benchmarks.states import PAGES
from core.runs.store import RunStore
from tests.browser.conftest import Server, in_chromium, visit
from tests.pages.run_folders import finished

pytestmark = [*in_chromium, pytest.mark.slow]


def test_everything_on_every_page_has_a_name_and_a_role(page: Any, server: Server) -> None:
    *_, unet = finished(RunStore(server.folder / "runs"))
    found = {}
    for name, path in {**PAGES, "run": f"runs?run={unet.id}"}.items():
        visit(page, server, path)
        found[name] = [each for each in violations(page) if each["rule"] != "color-contrast"]
    assert {name: each for name, each in found.items() if each} == {}


@pytest.mark.parametrize("html", ["<img src='data:,'>", "<button></button>", "<p style='color:#ccc'>pale</p>"])
def test_what_axe_calls_serious_is_found(html: str, page: Any) -> None:
    page.set_content(f"<html lang='en'><title>t</title><main>{html}</main></html>")
    assert len(violations(page)) == 1
