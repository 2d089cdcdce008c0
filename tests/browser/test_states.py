"""Every page in the states it is designed for, light and dark, wide and narrow: nothing raises, nothing is cut off.

With LAB_PICTURES=1 the pictures go to test-artifacts/states/ for people to look at.
"""

from __future__ import annotations

from typing import Any

import pytest

from core.runs.store import RunStore
from tests.browser.conftest import Server, expect, in_chromium, shot, visit, wait_for
from tests.pages.run_folders import broken, ended_badly, finished, hostile, running

pytestmark = in_chromium
LOOKS = [("light", 1280), ("dark", 900)]  # what a page looks like depends on theme and width one by one
TOO_WIDE = """() => {
  const main = document.querySelector('[data-testid="stMain"]')
  return [document.documentElement, main].map((box) => box ? box.scrollWidth - box.clientWidth : Infinity)
}"""
# words that stick out of their own box to the right of the page
CUT_OFF = """() => [...document.querySelectorAll('[data-testid="stMain"] :is(h1, h2, p, button, label, canvas, img)')]
  .filter((box) => box.checkVisibility() && box.getBoundingClientRect().right > innerWidth + 1)
  .map((box) => box.tagName + ' ' + box.textContent.slice(0, 40))"""


def empty(store: RunStore) -> dict[str, str]:
    return {"empty-overview": "", "empty-train": "train", "empty-runs": "runs", "empty-generate": "generate"}


def quiet(store: RunStore) -> dict[str, str]:
    vae, unet = finished(store)
    return {"quiet-vae": f"runs?run={vae.id}", "quiet-unet": f"runs?run={unet.id}"}


def busy(store: RunStore) -> dict[str, str]:
    failed, gone, stopped = ended_badly(store)
    _, live, waiting = running(store)
    return {
        "busy-overview": "",
        "busy-live": f"runs?run={live.id}",
        "busy-waiting": f"runs?run={waiting.id}",
        "busy-failed": f"runs?run={failed.id}",
        "busy-interrupted": f"runs?run={gone.id}",
        "busy-stopped": f"runs?run={stopped.id}",
    }


def damaged(store: RunStore) -> dict[str, str]:
    _, configuration, status, *_ = broken(store)
    names = hostile(store)
    return {
        "damaged-overview": "",
        "damaged-runs": "runs",
        "damaged-configuration": f"runs?run={configuration.id}",
        "damaged-status": f"runs?run={status.id}",
        "damaged-long-name": f"runs?run={names[-1].id}",
        "damaged-unknown": "runs?run=20200101-000000-unet-none",
    }


def faults(page: Any) -> list[str]:
    """What is wrong with the open page as it stands in its window now."""
    found = [f"{pixels} px wider than the window" for pixels in page.evaluate(TOO_WIDE) if pixels > 1]
    return found + [f"{words} is cut off" for words in page.evaluate(CUT_OFF)]


def test_nothing_is_cut_off_in_any_state(page: Any, server: Server) -> None:
    """One lab from state to state: it is empty first, and has all of these runs in the end."""
    for state in (empty, quiet, busy, damaged):
        for name, path in state(RunStore(server.folder / "runs")).items():
            visit(page, server, path)
            for theme, width in LOOKS:
                page.emulate_media(color_scheme=theme)
                page.set_viewport_size({"width": width, "height": 900})
                look = f"{name}-{theme}-{width}"
                # charts follow the window a moment later
                wait_for(lambda: faults(page) == [], lambda look=look: f"{look}: {faults(page)}")
                expect(page.get_by_test_id("stException")).to_have_count(0)
                shot(page, f"states/{look}")


FIRST_LINE = "() => document.querySelector('.lab-chart .js-line')?.style.stroke"


def test_curves_change_their_colours_with_the_theme_of_the_browser(page: Any, server: Server) -> None:
    failed, *_ = ended_badly(RunStore(server.folder / "runs"))
    visit(page, server, f"runs?run={failed.id}")
    for theme, red_green_blue in (("light", "rgb(37, 99, 235)"), ("dark", "rgb(110, 160, 255)")) * 2:
        page.emulate_media(color_scheme=theme)
        wait_for(lambda ink=red_green_blue: page.evaluate(FIRST_LINE) == ink, f"the curve is not {theme}")


@pytest.mark.parametrize(
    "html", ["<p style='width:3000px'>wide</p>", "<button style='position:absolute;left:4000px'>away</button>"]
)
def test_what_sticks_out_is_caught(html: str, page: Any) -> None:
    page.set_content(f"<div data-testid='stMain'>{html}</div>")
    wait_for(lambda: page.evaluate(CUT_OFF), "it is not caught")
