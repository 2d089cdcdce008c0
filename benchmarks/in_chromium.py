"""The lab served to real Chromium, for benchmarks of what a person sees."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from benchmarks.first_light import RESULTS, ROOT, processor

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
IDLE = '[data-test-connection-state="CONNECTED"][data-test-script-state="notRunning"]'


@contextlib.contextmanager
def served() -> Iterator[str]:
    """`streamlit run lab/Home.py` on the folders of LAB_RUNS and its like; its address."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(ROOT / "lab" / "Home.py"),
        "--server.headless",
        "true",
        "--server.address",
        "127.0.0.1",
        "--server.port",
        str(port),
    ]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


@contextlib.contextmanager
def window(*, width: int = 1280, height: int = 900) -> Iterator[Any]:
    """An empty page of Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(120_000)
        yield page
        browser.close()


def summary(values: list[float]) -> dict[str, float]:
    """Median, 95 % quantile and worst, milliseconds."""
    ordered = sorted(values)
    return {
        "median_ms": round(statistics.median(ordered), 2),
        "p95_ms": round(ordered[int(0.95 * len(ordered))], 2),
        "worst_ms": round(ordered[-1], 2),
    }


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
    path = RESULTS / f"{name}-{datetime.now(UTC):%Y-%m-%d}{label}.json"
    path.write_text(json.dumps(whole, indent=1) + "\n")


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)
    raise SystemExit("the server did not start")
