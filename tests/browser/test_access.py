"""What axe-core says of every page in both themes, and how many keys lead to its first control.

benchmarks/access.py checks all states.
"""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.access import MOST_KEYS, in_both_themes, keys_to_first_control, violations
from benchmarks.states import PAGES
from core.runs.store import RunStore
from tests.browser.conftest import Server, in_chromium, visit
from tests.pages.run_folders import finished

pytestmark = [*in_chromium, pytest.mark.slow]


def test_everything_on_every_page_has_a_name_and_a_role_and_can_be_read_and_reached(page: Any, server: Server) -> None:
    *_, unet = finished(RunStore(server.folder / "runs"))
    found, keys = {}, {}
    for name, path in {**PAGES, "run": f"runs?run={unet.id}"}.items():
        page.emulate_media(color_scheme="light")
        visit(page, server, path)
        keys[name] = keys_to_first_control(page)
        found |= {(name, theme): each for theme, each in in_both_themes(page).items()}
    assert {place: each for place, each in found.items() if each} == {}
    assert {name: each for name, each in keys.items() if each[0] > MOST_KEYS} == {}


@pytest.mark.parametrize("html", ["<img src='data:,'>", "<button></button>", "<p style='color:#ccc'>pale</p>"])
def test_what_axe_calls_serious_is_found(html: str, page: Any) -> None:
    page.set_content(f"<html lang='en'><title>t</title><main>{html}</main></html>")
    assert len(violations(page)) == 1


def test_a_page_without_a_way_past_its_header_takes_too_many_keys(page: Any) -> None:
    links = "".join(f"<a href='#{place}'>{place}</a>" for place in range(MOST_KEYS))
    page.set_content(f"<nav class='st-key-lab-top'>{links}</nav><main data-testid='stMain'><button>go</button></main>")
    assert keys_to_first_control(page) == (MOST_KEYS + 1, "go")
