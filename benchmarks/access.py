"""Accessibility of every page in real Chromium: `python -m benchmarks.access [--states empty one]`

Every page × {empty, one run, live, failed, many runs} × {light, dark}: what axe-core calls serious or critical; and
how many keys lead from an opened page to its first control. A violation, or more than ten keys, makes the exit code 1.
Results: benchmarks/results/access-<date>.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from typing import Any

from benchmarks.report import keep
from benchmarks.server import IDLE, chromium, window
from benchmarks.states import STATES, lab_in

SERIOUS = ("serious", "critical")
THEMES = ("light", "dark")
MOST_KEYS = 10
STANDS_MS = 300  # components follow the script, and colors their transition, a moment later
WEARS = """(theme) => {
  const [app, look] = [document.querySelector(".stApp"), getComputedStyle(document.documentElement)]
  const isDark = parseInt(look.getPropertyValue("--lab-ground").trim().slice(1, 3), 16) < 128
  return app && getComputedStyle(app).colorScheme === theme && isDark === (theme === "dark")
}"""
FOCUS = """() => {
  let here = document.activeElement
  while (here?.shadowRoot?.activeElement) here = here.shadowRoot.activeElement
  const isInside = (place) => !!document.activeElement?.closest(place)
  const name = here?.ariaLabel || here?.labels?.[0]?.innerText || here?.innerText || here?.placeholder || here?.tagName
  const is_control = isInside('[data-testid="stMain"]') && !isInside(".st-key-lab-top")
  return { is_skip: here?.id === "lab-skip", is_control, name: name.replace(/\s+/g, " ").trim().slice(0, 60) }
}"""


def violations(page: Any, rules: Iterable[str] = ()) -> list[dict[str, Any]]:
    """What axe finds serious on the open page: rule, impact, and the first places with what is wrong there.

    rules: names of the only ones to check, by default all.
    """
    from axe_playwright_python.base import AXE_SCRIPT

    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    only = {"runOnly": list(rules)} if rules else {}
    found = page.evaluate("(options) => axe.run(options)", {"resultTypes": ["violations"], **only})["violations"]
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


def in_both_themes(page: Any) -> dict[str, list[dict[str, Any]]]:
    """Violations of the open page by theme: of all rules in the first, of contrast, which alone depends on it, then."""
    found = {}
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        page.wait_for_function(WEARS, arg=theme)
        page.wait_for_selector(IDLE)
        page.wait_for_timeout(STANDS_MS)
        found[theme] = violations(page, [] if theme == THEMES[0] else ["color-contrast"])
    return found


def keys_to_first_control(page: Any, most: int = 30) -> tuple[int, str]:
    """How many keys lead from a page just opened to its first control by the skip button, and that control's name."""
    for count in range(1, most + 1):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUS)["is_skip"]:
            page.keyboard.press("Enter")
            count += 1
        if (focus := page.evaluate(FOCUS))["is_control"]:
            return count, focus["name"]
    return most, "none"


def checked(state: str, browser: Any) -> tuple[dict[str, Any], dict[str, tuple[int, str]]]:
    """Violations of every page in one state by "page, theme", and keys to the first control by page."""
    found: dict[str, Any] = {}
    keys: dict[str, tuple[int, str]] = {}
    with lab_in(state) as (server, paths), window(browser) as page:
        page.emulate_media(color_scheme=THEMES[0])
        for name, path in paths.items():
            page.goto(f"{server.address}/{path}")
            page.wait_for_selector("h1")
            page.wait_for_selector(IDLE)
            keys[name] = keys_to_first_control(page)
            found |= {f"{name}, {theme}": each for theme, each in in_both_themes(page).items()}
            rules = {f"{each['rule']}, {theme}" for theme in THEMES for each in found[f"{name}, {theme}"]}
            count, control = keys[name]
            print(f"{state}, {name}: {', '.join(sorted(rules)) or 'none'}; {count} keys to '{control}'", flush=True)
            page.emulate_media(color_scheme=THEMES[0])
    return found, keys


def main() -> int:
    """Check all pages in all states, print and keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", nargs="+", default=list(STATES), choices=list(STATES))
    options = parser.parse_args()
    began = time.monotonic()
    with chromium() as browser:
        states = {state: checked(state, browser) for state in options.states}
    serious = sum(len(each) for found, _ in states.values() for each in found.values())
    most = max(count for _, keys in states.values() for count, _ in keys.values())
    result = {state: {"violations": found, "keys_to_first_control": keys} for state, (found, keys) in states.items()}
    took = round(time.monotonic() - began)
    keep("access", {"serious": serious, "most_keys": most, "seconds": took, "states": result})
    return int(serious > 0 or most > MOST_KEYS)


if __name__ == "__main__":
    sys.exit(main())
