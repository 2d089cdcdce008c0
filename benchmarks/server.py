"""The lab served to real Chromium, for benchmarks and browser tests: one way to start both, and to end them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.jobs.queue import Queue
from core.jobs.serving import FACTS_NAME, LOCK_NAME
from core.runs.lock import is_locked

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "lab" / "Home.py"
IDLE = '[data-test-connection-state="CONNECTED"][data-test-script-state="notRunning"]'  # a page that is drawn
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
]
SIZE = {"width": 1280, "height": 900}
PATIENCE_MS = 180_000


class Server:
    """`streamlit run lab/Home.py` on a free port of this machine, from a folder that is not the project's.

    folder: where it runs, with its server.log. environment: of this process when None; LAB_RUNS and its like say what
    it shows. It ends with `kill`; the supervisor that it started lives on.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None, script: Path = HOME) -> None:
        self.folder, self.environment, self.script = folder, environment, script
        self.port = 0
        self.process: Any = None

    @property
    def address(self) -> str:
        """http://127.0.0.1:<port>."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has said so far."""
        return (self.folder / "server.log").read_text()

    def start(self) -> None:
        """Return when it answers; after `kill` once more on the same port. RuntimeError with its log if it ends."""
        for _ in range(3):  # somebody else may take the port that was free a moment ago
            self.port = self.port or free_port()
            self.spawn()
            if self._answers():
                return
            self.port = 0
        raise RuntimeError(f"the server did not start:\n{self.log}")

    def spawn(self) -> None:
        """Start its process."""
        command = [sys.executable, "-m", "streamlit", "run", str(self.script), "--server.headless", "true"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--server.address", "127.0.0.1", "--server.port", str(self.port)],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        """Wait until it takes connections; False when it has ended."""
        while self.is_alive():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
            time.sleep(0.05)
        return False


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now. Below those that connections get, so none of them takes it."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.closing(socket.socket()) as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def served(environment: Mapping[str, str] | None = None, script: Path = HOME) -> Iterator[Server]:
    """A server that runs in a folder of its own until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="lab-server-") as folder:
        server = Server(Path(folder), environment, script)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def end_supervisor(runs: Path) -> None:
    """Ask the supervisor of a runs folder to end and wait until it has; for folders that are one's own."""
    folder = Queue(runs).folder
    while is_locked(folder / LOCK_NAME):
        with contextlib.suppress(OSError, ValueError, KeyError):  # it has the lock before it has written its facts
            os.kill(json.loads((folder / FACTS_NAME).read_text())["pid"], signal.SIGTERM)
        time.sleep(0.05)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Playwright's `Browser` over the installed Chromium, without a window on the screen."""
    if CHROMIUM is None:
        raise SystemExit("needs Chromium (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextlib.contextmanager
def window(browser: Any) -> Iterator[Any]:
    """An empty page of 1280 × 900 that waits three minutes for anything, in a profile that has seen nothing."""
    context = browser.new_context(viewport=SIZE)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    context.close()
