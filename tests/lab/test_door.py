"""What reaches Streamlit, and which servers may open: every way in has a stranger that must stay outside."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import webbrowser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import streamlit as st

from benchmarks.server import HOME, free_port
from core.config.load import read_site
from core.config.site import SiteSettings
from core.errors import LabError
from lab.frame import door
from lab.frame.door import Door, admit, dismiss, is_loopback, read_secret, refusal
from lab.frame.upload_limit import UploadLimit, usual_limit
from tests.pages.conftest import OpenPage, open_page, store

__all__ = ["open_page", "store"]
SECRET = "s3cret-of-the-proxy-0123456789"
STREAM, UPLOAD = "/_stcore/stream", "/_stcore/upload_file/session-1/file-1"


def answer(
    door_options: dict[str, Any],
    headers: Iterable[tuple[str, str]],
    *,
    path: str = "/",
    method: str = "GET",
    kind: str = "http",
) -> tuple[int, dict[str, str], list[str]]:
    """(status, headers of the answer, names of the request's headers as the app saw them): the app says 200."""
    seen: list[str] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(name.decode() for name, _ in scope["headers"])
        if kind == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    scope = {"type": kind, "path": path, "method": method, "headers": raw, "scheme": "http"}
    asyncio.run(Door(app, **door_options)(scope, receive, send))
    if kind == "websocket":
        return {"websocket.accept": 101, "websocket.close": 403}[sent[0]["type"]], {}, seen
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}, seen


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8501", 200),
        ("localhost", 200),
        ("LOCALHOST.:9999", 200),  # an SSH tunnel from any port
        ("127.0.0.1:8501", 200),
        ("[::1]:8501", 200),
        ("192.168.7.9:8501", 200),  # no name, so none that could be rebound
        ("lab.example.org", 200),
        ("gpu.lab.example.org:444", 200),
        ("evil.example", 403),
        ("localhost.evil.example:8501", 403),
        ("lab.example.org.evil.example", 403),
        ("evillab.example.org", 403),
        ("localhost@evil.example", 403),
        ("evil.example/localhost", 403),
        ("localhost:port", 403),
        ("", 403),
    ],
)
def test_a_page_that_rebinds_its_name_to_this_machine_gets_nothing(host: str, status: int) -> None:
    options = {"hosts": ["Lab.example.org", "*.lab.example.org"]}
    assert answer(options, [("Host", host)])[0] == status
    same_page = [("Host", host), ("Origin", f"http://{host}")]  # as a rebinding page opens a session
    assert answer(options, same_page, path=STREAM, kind="websocket")[0] == (101 if status == 200 else 403)


def test_two_host_headers_or_none_are_no_name() -> None:
    assert answer({}, [])[0] == 403
    assert answer({}, [("Host", "localhost"), ("Host", "evil.example")])[0] == 403


@pytest.mark.parametrize(
    ("host", "origin", "may"),
    [
        ("localhost:8501", "http://localhost:8501", True),
        ("localhost:9000", "http://localhost:9000", True),
        ("lab.example.org", "https://lab.example.org", True),  # behind a proxy with TLS
        ("lab.example.org:443", "https://lab.example.org", True),
        ("lab.example.org", "https://partner.example", True),  # server.corsAllowedOrigins
        ("localhost:8501", "http://localhost:3000", False),
        ("localhost:8501", "http://127.0.0.1:8501", False),
        ("localhost:8501", "http://evil.example", False),
        ("localhost:8501", "http://localhost:8501.evil.example", False),
        ("localhost:8501", "http://localhost:8501@evil.example", False),
        ("lab.example.org", "https://other.example.org", False),
        ("localhost:8501", "null", False),  # a sandboxed frame
        ("localhost:8501", "file://", False),
        ("localhost:8501", "chrome-extension://localhost:8501", False),
    ],
)
@pytest.mark.parametrize(("path", "method", "kind"), [(STREAM, "GET", "websocket"), (UPLOAD, "PUT", "http")])
def test_only_the_labs_own_pages_open_a_session_or_upload(
    host: str, origin: str, may: bool, path: str, method: str, kind: str
) -> None:
    options = {"hosts": ["lab.example.org"], "origins": ["https://partner.example"]}
    status, *_ = answer(options, [("Host", host), ("Origin", origin)], path=path, method=method, kind=kind)
    assert (status in (101, 200)) == may
    twice = [("Host", host), ("Origin", origin), ("Origin", origin)]
    assert answer(options, twice, path=path, method=method, kind=kind)[0] == 403


@pytest.mark.parametrize("headers", [[("Host", "localhost")], [("Host", "evil.example")]])
def test_no_answer_can_be_framed_by_another_site(headers: list[tuple[str, str]]) -> None:
    found = answer({}, headers)[1]
    assert found["content-security-policy"] == "frame-ancestors 'self'"
    assert found["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize(
    ("headers", "may"),
    [
        ([("X-Lab-Secret", SECRET), ("X-Login", "ana")], True),
        ([("X-Login", "ana")], False),  # somebody who reaches the port past the proxy
        ([("X-Lab-Secret", SECRET[:-1]), ("X-Login", "ana")], False),
        ([("X-Lab-Secret", ""), ("X-Login", "ana")], False),
        ([("X-Lab-Secret", SECRET), ("X-Lab-Secret", "x"), ("X-Login", "ana")], False),
        ([("X-Lab-Secret", SECRET), ("X-Login", "ben"), ("X-Login", "ana")], False),  # a proxy that adds, not replaces
    ],
)
@pytest.mark.parametrize(("path", "kind"), [(STREAM, "websocket"), ("/runs", "http"), ("/media/picture.png", "http")])
def test_a_login_header_counts_only_with_the_secret_of_the_proxy(
    headers: list[tuple[str, str]], may: bool, path: str, kind: str
) -> None:
    options = {"secret": SECRET, "login_headers": ["X-Login"]}
    status, _, seen = answer(options, [("Host", "localhost"), *headers], path=path, kind=kind)
    assert (status in (101, 200)) == may
    assert "x-lab-secret" not in seen, "pages could show it"


def test_with_a_login_only_sessions_that_were_let_in_upload() -> None:
    host = [("Host", "localhost")]
    assert answer({"has_login": True}, host, path=UPLOAD, method="PUT")[0] == 403
    assert answer({"has_login": True}, host, path=f"/base{UPLOAD}", method="PUT")[0] == 403
    admit("session-1")
    assert answer({"has_login": True}, host, path=UPLOAD, method="PUT")[0] == 200
    assert answer({"has_login": True}, host, path=UPLOAD.replace("-1/", "-2/"), method="PUT")[0] == 403


def test_whoever_is_taken_out_of_the_members_uploads_no_more() -> None:
    admit("session-3")
    dismiss("session-3")
    path = UPLOAD.replace("-1/", "-3/")
    assert answer({"has_login": True}, [("Host", "localhost")], path=path, method="PUT")[0] == 403


@pytest.mark.parametrize("path", ["/_stcore/agent/interact", "/base/_stcore/agent/mcp", "/_stcore/agent/openapi.json"])
def test_no_agent_opens_a_session(path: str) -> None:
    assert answer({}, [("Host", "localhost")], path=path, method="POST")[0] == 403


def uploaded(
    limit: UploadLimit, held: dict[str, int], *chunks: int, session: str = "a", declared: int | None = None
) -> tuple[int, int]:
    """(status, bytes that the app took): the app stands for Streamlit, which keeps what it has read to the end."""
    sent: list[Any] = []
    taken = 0
    messages = [{"type": "http.request", "body": b"x" * size, "more_body": True} for size in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal taken
        more = True
        while more:
            message = await receive()
            taken, more = taken + len(message["body"]), message["more_body"]
        held[session] = held.get(session, 0) + taken
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), *([(b"content-length", str(declared).encode())] if declared else [])]
    scope = {"type": "http", "path": f"/_stcore/upload_file/{session}/f", "method": "PUT", "headers": headers}
    asyncio.run(Door(app, uploads=limit)(scope, receive, send))
    assert sent[0]["status"] == 204 or b"server" in sent[1]["body"]
    return sent[0]["status"], taken


def test_uploads_fill_no_more_than_they_may_whatever_they_say() -> None:
    held: dict[str, int] = {}
    limit = UploadLimit(lambda: held, of_one=100, in_all=150)
    assert uploaded(limit, held, 60, 10, declared=70) == (204, 70)
    assert uploaded(limit, held, 60, declared=60) == (413, 0)  # before it is read
    assert uploaded(limit, held, 20, 20, 20)[0] == 413  # chunked, and says nothing
    assert uploaded(limit, held, 60, declared=1)[0] == 413  # says too little
    assert uploaded(limit, held, 40, 40, 40, session="b")[0] == 413  # of all sessions together
    assert uploaded(limit, held, 60, session="b")[0] == 204
    held["a"] = 0  # removed, or its session ended
    assert uploaded(limit, held, 60)[0] == 204


def test_what_was_not_taken_to_the_end_is_free_again() -> None:
    held: dict[str, int] = {}
    limit = UploadLimit(lambda: held, of_one=100, in_all=100)
    for _ in range(3):
        assert uploaded(limit, held, 60, 60)[0] == 413
    assert uploaded(limit, held, 100)[0] == 204


@pytest.mark.parametrize(("total", "in_all"), [(2**30, 2**28), (2**36, 2_000_000_000)])
def test_a_small_machine_takes_less(total: int, in_all: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.json").write_text(f'{{"total": {total}, "free": 1}}')
    monkeypatch.setenv("LAB_MEMORY_RECORDING", str(tmp_path / "memory.json"))
    limit = usual_limit()
    assert (limit.in_all, limit.of_one) == (in_all, min(in_all, 500_000_000))


@pytest.mark.parametrize(
    ("address", "stays"),
    [
        *[("127.0.0.1", True), ("localhost", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True)],
        *[(None, False), ("", False), ("0.0.0.0", False), ("::", False), ("192.168.1.5", False), ("127.1", False)],
        ("localhost.evil.example", False),
    ],
)
def test_which_addresses_stay_on_this_machine(address: str | None, stays: bool) -> None:
    assert is_loopback(address) == stays
    words = refusal(SiteSettings(), "", address=address, oidc=False, login_headers=())
    assert stays == (words == "")
    if words:
        assert all(way in words for way in ("SSH tunnel", "configure a login", "site.open_without_login"))
    opened = SiteSettings(open_without_login=True)
    assert refusal(opened, "", address=address, oidc=False, login_headers=()) == ""


@pytest.mark.parametrize(
    ("site", "oidc", "headers", "words"),
    [
        ({}, True, (), "site.members is empty"),
        ({"members": ("*@lab.example",)}, True, (), ""),
        ({"open_without_login": True}, True, (), "site.members is empty"),
        ({}, False, ("X-Login",), "site.login_secret_file"),
        ({"members": ("ana",)}, False, ("X-Login",), "site.login_secret_file"),
        ({"login_secret_file": "/s"}, False, ("X-Login",), ""),
        ({"members": ("ana",)}, False, (), "none is configured"),
        ({"login_secret_file": "/s"}, False, (), "none is configured"),
        ({"members": ("ana",), "login_secret_file": "/s"}, True, ("X-Login",), "two logins"),
    ],
)
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", None])
def test_half_a_login_opens_no_server(
    site: dict[str, Any], oidc: bool, headers: tuple[str, ...], words: str, address: str | None
) -> None:
    said = refusal(SiteSettings(**site), "", address=address, oidc=oidc, login_headers=headers)
    assert words in said if words else said == ""


def test_a_unix_socket_is_called_what_it_is() -> None:
    said = refusal(SiteSettings(), "", address="unix:///run/lab.sock", oidc=False, login_headers=())
    assert "Unix sockets do not work" in said


def test_unreadable_settings_keep_an_open_server_shut_and_a_local_one_running() -> None:
    sound = SiteSettings(open_without_login=True)
    assert refusal(sound, "config.yaml: line 3", address="127.0.0.1", oidc=False, login_headers=()) == ""
    for address, oidc in (("0.0.0.0", False), ("127.0.0.1", True)):
        said = refusal(sound, "config.yaml: line 3", address=address, oidc=oidc, login_headers=())
        assert said.startswith("config.yaml: line 3")


@pytest.mark.parametrize("text", ["", "short", "x" * 5000, "ünprintable-in-a-header", "two words\nand a line of text"])
def test_a_secret_that_is_none_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secret"
    for expected in ("cannot be read", "site.login_secret_file"):
        with pytest.raises(LabError, match=expected):
            read_secret(path)
        path.write_text(text)
    path.write_text(f"{SECRET}\n")
    assert read_secret(path) == SECRET


@pytest.mark.parametrize(("headless", "opens"), [(True, []), (False, ["http://localhost:8501/lab"])])
def test_on_a_desktop_the_lab_opens_in_the_browser(
    headless: bool, opens: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"server.headless": headless, "server.port": 8501, "server.baseUrlPath": "/lab/"}
    opened: list[str] = []
    monkeypatch.setattr(st, "get_option", options.get)
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(door, "OPENS_AFTER_S", 0.0)

    async def served() -> None:
        async with door.browser_opened(None):
            await asyncio.sleep(0.01)

    asyncio.run(served())
    assert opened == opens


def test_scripts_are_run_here_as_the_lab_runs_them() -> None:
    """With Streamlit's magic, pages are parsed as trees, which two threads of Python 3.11 cannot do at once."""
    assert [st.get_option(f"runner.{name}") for name in ("magicEnabled", "postScriptGC", "fastReruns")] == [
        False,
        False,
        True,
    ]


def test_every_page_of_an_open_lab_says_so(
    open_page: OpenPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text("site: {open_without_login: true}\n")
    assert "Open without a login" not in "".join(line.value for line in open_page("overview").caption)
    monkeypatch.setenv("LAB_PROJECT", str(tmp_path))
    assert read_site()[0].open_without_login
    for page in ("overview", "machine"):
        assert "Open without a login" in "".join(line.value for line in open_page(page).caption)


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--server.address", "0.0.0.0"], ["--server.address", ""]])
def test_the_fixed_start_refuses_before_it_listens(options: list[str], tmp_path: Path) -> None:
    port = str(free_port())
    command = [sys.executable, "-m", "streamlit", "run", str(HOME), "--server.headless", "true", "--server.port", port]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: server.address is")
    assert "open beyond this machine without a login" in last
