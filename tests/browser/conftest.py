"""The lab's server, and pages of one real Chromium looking at it. LAB_PICTURES=1 keeps pictures in test-artifacts/."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

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
PICTURE = "(canvas) => canvas.toDataURL()"
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
STANDS = """async (idle) => {
  for (let frame = 0, still = 0; frame < 1800 && still < 30; frame++) {
    await new Promise(requestAnimationFrame)
    still = document.querySelector(idle) ? still + 1 : 0
  }
}"""
DRAWN: Counter[Any] = Counter()  # how often the server has told a page that its script, or a part of it, has ended
LOST_CLICK_S = 5.0  # then it is made again
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
def server(lab_folders: Path, forks: None) -> Iterator[Server]:
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
    opened = new_page(browser)
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
    opened = new_page(page.context.browser)
    if name:
        opened.context.add_cookies([{"name": WHO_COOKIE, "value": name, "url": server.address}])
    return opened


def new_page(browser: Any, **context: Any) -> Page:
    """A page in a profile of its own; `drawn_again` counts what its server has drawn for it. context: Playwright's."""
    opened = browser.new_context(viewport=SIZE, **context).new_page()
    opened.set_default_timeout(PATIENCE_MS)

    def received(frame: str | bytes) -> None:
        if isinstance(frame, bytes) and ForwardMsg.FromString(frame).WhichOneof("type") == "script_finished":
            DRAWN[opened] += 1

    opened.on("websocket", lambda socket: socket.on("framereceived", received))
    return opened


def drawn_again(page: Page, times: int = 2) -> None:
    """Wait until the server has drawn the page, or a live part of it, so often from now on."""
    wanted = DRAWN[page] + times

    def has_drawn() -> bool:
        page.evaluate(FRAMES)
        return DRAWN[page] >= wanted

    wait_for(has_drawn, "nothing on this page is live")


def visit(page: Page, server: Server, path: str = "") -> float:
    """Open a page and wait until it is done; seconds until its title stood there."""
    started = time.monotonic()
    page.goto(f"{server.address}/{path}")
    page.wait_for_selector("h1")
    drawn_s = time.monotonic() - started
    stand_still(page)
    return drawn_s


def stand_still(page: Page) -> None:
    """Wait until the page is done; a live part on a busy machine is never long, so half a minute at most."""
    with contextlib.suppress(PlaywrightTimeout):
        page.wait_for_selector(IDLE, timeout=30_000)


def settle(page: Page) -> None:
    """Wait until the page has stood still for 30 display frames: a click whose answer has not begun looks idle too.

    A page with a live part may never stand still on a busy machine: 1,800 frames at most.
    """
    page.evaluate(STANDS, IDLE)


def press(page: Page, element: Any, key: str, shows: Any, words: str) -> None:
    """Press Home or End on an element until the page shows it: a key is lost if it is drawn again meanwhile."""
    assert key in ("Home", "End"), "any other key goes too far when it is pressed again"
    settle(page)

    def done() -> bool:
        element.focus()
        page.keyboard.press(key)
        page.evaluate(FRAMES)
        return bool(shows())

    wait_for(done, words)


def typed(
    page: Page, field: Any, value: str, has_happened: Any, words: str, *, opened: Callable[[], object] = bool
) -> None:
    """Fill a field and press Enter until that has had its effect: a page that is drawn again forgets what was typed.

    opened: opens what the field lies in, where that may close.
    """

    def done() -> bool:
        if has_happened():
            return True
        settle(page)
        with contextlib.suppress(PlaywrightTimeout):  # it was drawn again, or closed
            opened()
            field.fill(value, timeout=3_000)
            field.press("Enter", timeout=3_000)
        settle(page)
        deadline = time.monotonic() + LOST_CLICK_S
        while not has_happened() and time.monotonic() < deadline:
            page.evaluate(FRAMES)
        return bool(has_happened())

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
        deadline = time.monotonic() + LOST_CLICK_S
        while not has_happened() and time.monotonic() < deadline:
            page.evaluate(FRAMES)
        return bool(has_happened())

    wait_for(done, words)


def shot(page: Page, name: str) -> None:
    """A picture of the whole page, for people to look at, where LAB_PICTURES is set."""
    if os.environ.get("LAB_PICTURES"):
        (ARTIFACTS / name).parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)


def wait_for(condition: Callable[[], object], words: str | Callable[[], str], seconds: float = 600.0) -> None:
    """Until the condition holds. `words`: what to say when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, words if isinstance(words, str) else words()
        time.sleep(0.1)
