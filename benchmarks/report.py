"""What a benchmark says of itself: when and where it ran, what was busy meanwhile, and the file its figures go to."""

from __future__ import annotations

import json
import os
import platform
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")


def summary(values: list[float]) -> dict[str, float]:
    """Median, 95 % quantile and worst, milliseconds."""
    ordered = sorted(values)
    return {
        "median_ms": round(statistics.median(ordered), 2),
        "p95_ms": round(ordered[int(0.95 * len(ordered))], 2),
        "worst_ms": round(ordered[-1], 2),
    }


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def machine() -> dict[str, Any]:
    """When and where something was measured, and what else ran."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
    }


def keep(name: str, result: dict[str, Any], label: str = "") -> None:
    """Print a result and write it to benchmarks/results, with the load that there is now."""
    whole = {**machine(), **result, "load_at_the_end": os.getloadavg()[0]}
    print(json.dumps(whole, indent=1))
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}-{datetime.now(UTC):%Y-%m-%d}{label}.json"
    path.write_text(json.dumps(whole, indent=1) + "\n")
