"""A model hub of our own on loopback: as much of the real one's interface as a push needs, with planted faults."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWx"


class FakeHub:
    """Repositories by name: {'private': bool, 'files': {path: bytes}}. faults: {word of the path: status}."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, Any]] = {}
        self.faults: dict[str, int] = {}
        self.calls: list[str] = []
        self.address = ""

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """(status, JSON)."""
        self.calls.append(f"{method} {path}")
        for word, status in self.faults.items():
            if word in path and (method != "DELETE" or word == "delete"):
                return status, {"error": f"planted, you sent {token}"}
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            if name in self.repositories:
                return 409, {"error": "You already created this model repo"}
            is_private = bool(asked.get("private")) or asked.get("visibility") == "private"
            self.repositories[name] = {"private": is_private, "files": {}}
            return 200, {"url": f"{self.address}/{name}", "name": name}
        if path == "/api/repos/delete":
            asked = json.loads(body)
            self.repositories.pop("/".join(filter(None, (asked.get("organization"), asked["name"]))), None)
            return 200, {}
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            return 200, {"files": modes}
        if "/commit/" in path:
            name = "/".join(path.split("/")[3:5])
            for line in body.splitlines():
                operation = json.loads(line)
                if operation["key"] == "file":
                    value = operation["value"]
                    self.repositories[name]["files"][value["path"]] = base64.b64decode(value["content"])
            return 200, {
                "commitUrl": f"{self.address}/{name}/commit/{'0' * 40}",
                "commitOid": "0" * 40,
                "success": True,
            }
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        name = "/".join(path.split("/")[3:5])
        return (200, {"id": name, "sha": "0" * 40, "siblings": []}) if name in self.repositories else (404, {})


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    """The hub, on a port of loopback."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            token = self.headers.get("Authorization", "")
            status, answer = hub.answer(self.command, urlsplit(self.path).path, token, body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = do_HEAD = _serve

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def hub_in_use(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A running hub that huggingface_hub finds, with credentials that it accepts and no proxy between."""
    with running_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield hub
