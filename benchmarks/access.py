"""Accessibility of every page, checked by axe-core in real Chromium: `python -m benchmarks.access [--states empty one]`

Every page × {empty, one run, live, failed, many runs} × {light, dark}. A violation that axe calls serious or critical
makes the exit code 1. Results: benchmarks/results/access-<date>.json.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from benchmarks.report import keep
from benchmarks.server import IDLE, chromium, window
from benchmarks.states import STATES, lab_in

SERIOUS = ("serious", "critical")
STANDS_MS = 1500  # charts and components follow the script a moment later


def violations(page: Any) -> list[dict[str, Any]]:
    """What axe finds serious on the open page: rule, impact, and the first places with what is wrong there."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        {
            "rule": each["id"],
            "impact": each["impact"],
            "nodes": len(each["nodes"]),
            "places": [f"{node['html'][:160]}: {node['failureSummary'][:300]}" for node in each["nodes"][:3]],
        }
        for each in found
        if each["impact"] in SERIOUS
    ]


def checked(state: str, browser: Any) -> dict[str, Any]:
    """Violations of every page in one state, by "page, theme"."""
    found: dict[str, Any] = {}
    with lab_in(state) as (server, paths), window(browser) as page:
        for name, path in paths.items():
            page.goto(f"{server.address}/{path}")
            page.wait_for_selector("h1")
            page.wait_for_selector(IDLE)
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme)
                page.wait_for_timeout(STANDS_MS)
                found[f"{name}, {theme}"] = violations(page)
                rules = [f"{each['rule']} × {each['nodes']}" for each in found[f"{name}, {theme}"]]
                print(f"{state}, {name}, {theme}: {', '.join(rules) or 'none'}", flush=True)
    return found


def main() -> int:
    """Check all pages in all states, print and keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", nargs="+", default=list(STATES), choices=list(STATES))
    options = parser.parse_args()
    with chromium() as browser:
        found = {state: checked(state, browser) for state in options.states}
    serious = sum(len(each) for state in found.values() for each in state.values())
    keep("access", {"serious": serious, "states": found})
    return int(serious > 0)


if __name__ == "__main__":
    sys.exit(main())
