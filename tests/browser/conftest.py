"""The lab's server as a subprocess, and a page of real Chromium looking at it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.server import CHROMIUM, IDLE, PATIENCE_MS, ROOT, SIZE, Server, chromium
from core.runs.store import RunStore
from lab.frame.state import WHO_COOKIE
from tests.browser.forked_server import ForkedServer
from tests.endings import end_lab

HAS_BROWSER = CHROMIUM is not None
try:
    from playwright.sync_api import Page, expect
    from playwright.sync_api import TimeoutError as PlaywrightTimeout
except ImportError:
    HAS_BROWSER = False
in_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(not HAS_BROWSER, reason="needs Chromium (Debian: apt-get install chromium) and playwright"),
]
ARTIFACTS = ROOT / "test-artifacts"
FOLDERS = ("runs", "cache", "gallery", "imports", "models")


@pytest.fixture(autouse=True)
def lab_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab of its own for every test, in tmp_path, which the server finds by the environment; the person is ana."""
    for name in FOLDERS:
        monkeypatch.setenv(f"LAB_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("LAB_USER", "ana")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.fixture
def server(lab_folders: Path) -> Iterator[Server]:
    """A fresh server; what it started ends with the test."""
    yield from ended_after(ForkedServer(lab_folders, dict(os.environ)))


@pytest.fixture
def started_server(lab_folders: Path) -> Iterator[Server]:
    """The same, started as people start it."""
    yield from ended_after(Server(lab_folders))


def ended_after(server: Server) -> Iterator[Server]:
    server.start()
    yield server
    server.kill()
    end_lab(RunStore(server.folder / "runs"))


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """One Chromium for all tests here."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(request: pytest.FixtureRequest, browser: Any) -> Iterator[Any]:
    """A window of 1280 × 900 that has seen nothing. A failed test prints its console and keeps its last look."""
    context = browser.new_context(viewport=SIZE)
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    said: list[str] = []
    failed_before = request.session.testsfailed
    opened.on("console", lambda message: said.append(f"{message.type}: {message.text[:400]}"))
    opened.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
    opened.on("crash", lambda _: said.append("the page crashed"))
    opened.on("framenavigated", lambda frame: said.append(f"at {frame.url}"))
    yield opened
    if request.session.testsfailed > failed_before:
        print("\n".join(said))
        ARTIFACTS.mkdir(exist_ok=True)
        opened.screenshot(path=ARTIFACTS / f"last-{request.node.name.split('[')[0]}.png")
    for each in browser.contexts:  # those of other persons too
        each.close()


def person(page: Page, server: Server, name: str) -> Page:
    """A browser of its own that remembers a name ('' for none yet)."""
    context = page.context.browser.new_context(viewport={"width": 1280, "height": 1000})  # type: ignore[union-attr]
    if name:
        context.add_cookies([{"name": WHO_COOKIE, "value": name, "url": f"http://127.0.0.1:{server.port}"}])
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    return opened


def visit(page: Page, server: Server, path: str = "") -> float:
    """Open a page and wait until it is done; seconds until its title stood there."""
    started = time.monotonic()
    page.goto(f"http://127.0.0.1:{server.port}/{path}")
    page.wait_for_selector("h1")
    drawn_s = time.monotonic() - started
    stand_still(page)
    return drawn_s


def stand_still(page: Page) -> None:
    """Wait until the page is done; a live part on a busy machine is never long, so half a minute at most."""
    with contextlib.suppress(PlaywrightTimeout):
        page.wait_for_selector(IDLE, timeout=30_000)


def settle(page: Page, quiet_s: float = 0.6) -> None:
    """Wait until the page has stood still for a while: a click whose answer has not begun looks idle too.

    A page with a live part may never stand still on a busy machine: half a minute at most.
    """
    began = quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < quiet_s and time.monotonic() - began < 30:
        if page.locator(IDLE).count() == 0:
            stand_still(page)
            quiet_since = time.monotonic()
        page.wait_for_timeout(50)


def press(page: Page, element: Any, key: str, shows: Any, words: str) -> None:
    """Press Home or End on an element until the page shows it: a key is lost if it is drawn again meanwhile."""
    assert key in ("Home", "End"), "any other key goes too far when it is pressed again"
    settle(page)

    def done() -> bool:
        element.focus()
        page.keyboard.press(key)
        page.wait_for_timeout(100)
        return bool(shows())

    wait_for(done, words)


def from_menu(page: Page, menu: Any, entry: Any, has_happened: Any, words: str) -> None:
    """Open a menu and click its entry until that has had its effect: a menu closes when the page is drawn again."""

    def done() -> bool:
        if has_happened():
            return True
        settle(page)
        if not entry.is_visible():
            menu.click()
        with contextlib.suppress(PlaywrightTimeout):  # it closed under the mouse
            entry.click(timeout=3_000)
        deadline = time.monotonic() + 5
        while not has_happened() and time.monotonic() < deadline:
            page.wait_for_timeout(100)
        return bool(has_happened())

    wait_for(done, words)


def shot(page: Page, name: str) -> None:
    """A picture of the page in light, dark and narrow."""
    ARTIFACTS.mkdir(exist_ok=True)
    photograph(page, ARTIFACTS / f"{name}.png", full_page=True)


def photograph(page: Page, path: Path, **options: Any) -> None:
    """A screenshot; tried again where a busy Chromium draws no frame for half a minute."""
    for _ in range(2):
        with contextlib.suppress(PlaywrightTimeout):
            page.screenshot(path=path, timeout=30_000, **options)
            return
    page.screenshot(path=path, **options)


def wait_for(condition: Any, words: str, seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, words
        time.sleep(0.1)
