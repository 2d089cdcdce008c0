"""Server time of the screens that compute: what a change of parameters costs, warm, without a browser.

`python -m benchmarks.page_times [--repeats 10] [--only schedulers]`
Runs the real pages in Streamlit's own test harness, in this process, on the runs folder of LAB_RUNS (an empty one shows
less). The page is looked at for five seconds, then each change is made `repeats` times, with values not seen before
where there are any; the time is that of the whole script run, which the server spends before the browser sees the
answer.
Results: benchmarks/results/page-times-<date>.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from streamlit.testing.v1 import AppTest

from benchmarks.report import RESULTS
from benchmarks.server import HOME

LIMIT_MS = 300.0
LOOKING_S = 5.0  # somebody looks at the page before they change something; it decodes ahead meanwhile


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change that somebody makes on a page: `make(app, n)` sets the n-th value without running the page."""

    page: str
    query: dict[str, str]
    what: str
    make: Callable[[AppTest, int], None]


def group(app: AppTest, key: str) -> Any:
    """A row of pills or segments."""
    return next(each for each in app.get("button_group") if each.key == key)


def among(values: Sequence[Any], n: int) -> Any:
    """The n-th value, round and round."""
    return values[n % len(values)]


def next_quantity(app: AppTest, n: int) -> None:
    """Another curve."""
    box = app.selectbox(key="quantity")
    box.set_value(among(box.options, n))


SETS = (["cosine", "flow"], ["linear", "sigmoid"], ["cosine", "linear", "scaled_linear", "sigmoid", "flow"], ["flow"])
FORMS = ("sigmoid", "cosine", "scaled_linear", "flow", "linear")
CHANGES = [
    Change(
        page="schedulers",
        query={},
        what="other schedules",
        make=lambda app, n: group(app, "pick-schedules").set_value(among(SETS, n)),
    ),
    Change(page="schedulers", query={}, what="another quantity", make=next_quantity),
    Change(
        page="schedulers",
        query={"schedules": "cosine,own"},
        what="a parameter of one's own schedule, never seen",
        make=lambda app, n: app.number_input(key="own-b1").set_value(0.02 + 0.001 * (n + 1)),
    ),
    Change(
        page="schedulers",
        query={"schedules": "cosine,own"},
        what="another form of one's own schedule",
        make=lambda app, n: app.selectbox(key="own-form").set_value(among(FORMS, n)),
    ),
    Change(
        page="schedulers",
        query={},
        what="other pictures",
        make=lambda app, n: group(app, "pictures").set_value([n % 10, (n + 1) % 10]),
    ),
    Change(
        page="schedulers",
        query={},
        what="what scaling does, opened and closed",
        make=lambda app, n: app.session_state.__setitem__("scaling", n % 2 == 0),
    ),
    Change(
        page="schedulers",
        query={"rug-open": "true", "scaling": "true"},
        what="steps of the visited timesteps",
        make=lambda app, n: app.number_input(key="rug-steps").set_value(10 + n),
    ),
    Change(
        page="schedulers",
        query={"view": "Self-test"},
        what="another error",
        make=lambda app, n: group(app, "test-error").set_value(among(["wasserstein", "pathwise"], n)),
    ),
]


def measure(change: Change, repeats: int) -> list[float]:
    """Milliseconds of each repeat; the page is opened and the change made once before."""
    app = AppTest.from_file(str(HOME), default_timeout=120)
    app.switch_page(f"../pages/{change.page}.py")
    for key, value in change.query.items():
        app.query_params[key] = value
    app.run()
    time.sleep(LOOKING_S)
    times = []
    for n in range(repeats + 1):
        change.make(app, n)
        began = time.perf_counter()
        app.run()
        times.append(1000 * (time.perf_counter() - began))
        if app.exception:
            raise RuntimeError(f"{change.page}, {change.what}: {app.exception[0].value}")
    return times[1:]


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--only", default="", help="only this page")
    arguments = parser.parse_args()
    rows = []
    for change in CHANGES:
        if arguments.only and change.page != arguments.only:
            continue
        times = measure(change, arguments.repeats)
        row = {
            "page": change.page,
            "change": change.what,
            "median_ms": round(statistics.median(times), 1),
            "worst_ms": round(max(times), 1),
        }
        rows.append(row)
        over = "" if row["worst_ms"] < LIMIT_MS else "  over the limit"
        print(f"{change.page:12} {change.what:48} {row['median_ms']:7.1f} ms  worst {row['worst_ms']:7.1f} ms{over}")
    facts = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "hardware": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load_at_the_end": os.getloadavg()[0],
        "repeats": arguments.repeats,
        "limit_ms": LIMIT_MS,
        "changes": rows,
    }
    path = RESULTS / f"page-times-{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(facts, indent=1) + "\n")
    print(f"written to benchmarks/results/{path.name}")


if __name__ == "__main__":
    main()
