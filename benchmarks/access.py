"""Accessibility of every page, checked by axe-core in real Chromium, light and dark: `python -m benchmarks.access`

Serves the lab on the folders of LAB_RUNS and its like, and checks it in the state in which they are. A violation that
axe calls serious or critical makes the exit code 1. Results: benchmarks/results/access-<date><label>.json.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from benchmarks.report import keep
from benchmarks.server import IDLE, chromium, served, window

PAGES = ("", "train", "runs", "generate", "data", "schedulers", "latents", "machine")
SERIOUS = ("serious", "critical")
STANDS_MS = 1500  # charts and components follow the script a moment later


def violations(page: Any) -> list[dict[str, Any]]:
    """What axe finds serious on the open page: rule, impact, and the places as selectors (ten at most)."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        {
            "rule": each["id"],
            "impact": each["impact"],
            "nodes": len(each["nodes"]),
            "places": [str(node["target"]) for node in each["nodes"][:10]],
        }
        for each in found
        if each["impact"] in SERIOUS
    ]


def main() -> int:
    """Check all pages, print and keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", nargs="+", default=PAGES, help="paths with queries, such as runs?run=ID")
    parser.add_argument("--label", default="", help="added to the name of the result file: the state, such as -empty")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with served() as server, chromium() as browser, window(browser) as page:
        for path in options.pages:
            page.goto(f"{server.address}/{path}")
            page.wait_for_selector(IDLE)
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                page.wait_for_timeout(STANDS_MS)
                found[f"{path or 'overview'}, {theme}"] = violations(page)
    keep("access", {"serious": sum(map(len, found.values())), "pages": found}, options.label)
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
