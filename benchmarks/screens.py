"""Screenshots of every page for people to look at: `python -m benchmarks.screens [FOLDER] [--states live]`

Every page × {empty, one run, live, failed, many runs} × {900, 1280, 1920 px} × {light, dark}, as
FOLDER/<state>/<page>-<width>-<theme>.png, the whole page each. An existing picture is replaced. FOLDER is
lab-screens in the system's folder for temporary files unless one is named, never in the repository.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.server import IDLE, chromium, window
from benchmarks.states import STATES, lab_in

WIDTHS = (900, 1280, 1920)
STANDS_MS = 1000  # charts follow the window a moment later
MOST_HEIGHT = 6000
FOLDER = Path(tempfile.gettempdir()) / "lab-screens"


def shoot(state: str, browser: Any, folder: Path) -> int:
    """Screenshots of every page in one state; how many there are."""
    count = 0
    folder.mkdir(parents=True, exist_ok=True)
    with lab_in(state) as (server, paths), window(browser) as page:
        for name, path in paths.items():
            page.goto(f"{server.address}/{path}")
            page.wait_for_selector("h1")
            page.wait_for_selector(IDLE)
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                page.wait_for_timeout(STANDS_MS)
                height = page.locator("[data-testid=stMain]").evaluate("(main) => main.scrollHeight")
                page.set_viewport_size({"width": width, "height": max(900, min(height, MOST_HEIGHT))})
                for theme in ("light", "dark"):
                    page.emulate_media(color_scheme=theme)
                    page.wait_for_timeout(STANDS_MS)
                    page.screenshot(path=folder / f"{name}-{width}-{theme}.png")
                    count += 1
    return count


def main() -> None:
    """Make all screenshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, metavar="FOLDER")
    parser.add_argument("--states", nargs="+", default=list(STATES), choices=list(STATES))
    options = parser.parse_args()
    with chromium() as browser:
        for state in options.states:
            print(f"{state}: {shoot(state, browser, options.folder / state)} screenshots", flush=True)


if __name__ == "__main__":
    main()
