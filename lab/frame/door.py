"""The door: which requests reach Streamlit at all, and whether this server may be opened as it is configured.

Streamlit answers to any name, to any page of another localhost port, and in any other site's frame; and it believes a
login header from whoever sends it. The door stands before it and does not.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
import sys
import webbrowser
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import streamlit as st
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from core import reading
from core.config.load import read_site
from core.config.site import SiteSettings
from core.errors import LabError, quoted
from lab.frame.page_script import PageScript
from lab.frame.upload_limit import UploadLimit, usual_limit

HEADER_OF_PROXY = "X-Lab-Secret"
SHORTEST_SECRET, LONGEST_SECRET = 16, 1024
MOST_ADMITTED = 10_000
OPENS_AFTER_S = 0.5  # the server listens by then
FRAME_HEADERS = ((b"content-security-policy", b"frame-ancestors 'self'"), (b"x-frame-options", b"SAMEORIGIN"))
THREE_WAYS = (
    "keep server.address at 127.0.0.1 and let colleagues come through an SSH tunnel, configure a login "
    "(docs/deployment.md), or set site.open_without_login: true in config.yaml"
)
_UPLOAD = re.compile(r"/_stcore/upload_file/([^/]+)/")
_admitted: dict[str, None] = {}  # sessions whose person was let in, oldest first


def admit(session_id: str) -> None:
    """Remember that the person of this session was let in: only then may it upload. The oldest are forgotten."""
    _admitted[session_id] = None
    while len(_admitted) > MOST_ADMITTED:
        del _admitted[next(iter(_admitted))]


def dismiss(session_id: str) -> None:
    """Forget it: its person may not enter any more."""
    _admitted.pop(session_id, None)


class Door:
    """ASGI middleware that refuses foreign hosts, origins and login headers, and forbids other sites to frame the lab.

    hosts: names that the lab answers to, `*.name` for all below one; localhost and addresses in digits always work,
    because no name can be rebound to them. origins: foreign pages that may connect all the same, as `https://name`.
    secret: what the proxy that signs people in sends as X-Lab-Secret with each request; '' without such a proxy.
    login_headers: names of the headers it puts the login into. has_login: sessions upload only after `admit`.
    uploads: how much they may fill, by default what fits this machine.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        secret: str = "",
        login_headers: Iterable[str] = (),
        has_login: bool = False,
        uploads: UploadLimit | None = None,
    ) -> None:
        self.app = app
        self.hosts = tuple(name.lower().rstrip(".") for name in hosts)
        self.origins = frozenset(origins)
        self.secret = secret.encode()
        self.login_headers = tuple(name.lower().encode() for name in login_headers)
        self.has_login = has_login
        self.uploads = uploads or usual_limit()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse with 403 and one sentence, or pass on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *FRAME_HEADERS]}
            await send(message)

        if words := self.refusal(scope):
            answer = PlainTextResponse(words, 403) if scope["type"] == "http" else WebSocketClose(1008, words)
            await answer(scope, receive, guarded)
            return
        secret = HEADER_OF_PROXY.lower().encode()
        shown = [(name, value) for name, value in scope["headers"] if name.lower() != secret]
        inner = {**scope, "headers": shown}
        upload = _UPLOAD.search(scope["path"])
        if upload and scope.get("method") == "PUT":
            await self.uploads.watch(upload[1], self.app, inner, receive, guarded)
        else:
            await self.app(inner, receive, guarded)

    def refusal(self, scope: Scope) -> str:
        """Why this request is refused, in one sentence, or ''."""
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        hosts, origins = headers.get(b"host", []), headers.get(b"origin", [])
        host = _split(f"//{hosts[0].decode('latin-1')}") if len(hosts) == 1 else None
        if host is None or not self._answers_to(host.hostname or ""):
            name = quoted(hosts[0].decode("latin-1") if hosts else "", 100)
            return f"This lab does not answer to the name '{name}': add it to site.allowed_hosts in config.yaml."
        if origins and not (len(origins) == 1 and self._may_come_from(origins[0].decode("latin-1"), host)):
            return "This lab takes nothing from pages of other sites: open its own address."
        if self.secret:
            given = headers.get(HEADER_OF_PROXY.lower().encode(), [])
            if len(given) != 1 or not hmac.compare_digest(given[0], self.secret):
                return "This lab is entered through the proxy that signs people in: open the address of that."
            if any(len(headers.get(name, ())) > 1 for name in self.login_headers):
                return "The proxy names two people: it must replace the login header, not add to it."
        if "/_stcore/agent/" in scope["path"]:  # Streamlit's server.enableAgentApi: sessions that no page opened
            return "This lab is used in a browser and from its command line, not through Streamlit's agent API."
        upload = _UPLOAD.search(scope["path"]) if self.has_login else None
        if upload and upload[1] not in _admitted:
            return "Only members of this lab upload files: sign in first."
        return ""

    def _answers_to(self, hostname: str) -> bool:
        name = hostname.lower().rstrip(".")
        return name == "localhost" or _is_address(name) or any(_fits(name, pattern) for pattern in self.hosts)

    def _may_come_from(self, origin: str, host: SplitResult) -> bool:
        """The page's own host and port; a missing port is that of the page's scheme, as browsers leave it out."""
        page = _split(origin)
        standard = {"http": 80, "https": 443}.get(page.scheme) if page else None
        if page is None or standard is None:
            return False
        same = (page.hostname, page.port or standard) == (host.hostname, host.port or standard)
        return same or origin in self.origins


def _fits(name: str, pattern: str) -> bool:
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern


def _split(text: str) -> SplitResult | None:
    """A URL with host and port and nothing that hides another host; None for what is none."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises where it is none
    except ValueError:
        return None
    return parts if parts.hostname and not (parts.username or parts.path or parts.query or parts.fragment) else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(address: str | None) -> bool:
    """Whether `server.address` keeps the server on this machine. Unset, Streamlit listens on every interface."""
    name = (address or "").strip("[]").lower()
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)


def read_secret(path: Path) -> str:
    """The proxy's secret, without blanks around it. Raises LabError for a file that holds none of 16 characters."""
    try:
        secret = reading.read_text(path, limit=LONGEST_SECRET).strip()
    except (OSError, reading.Unreadable) as error:
        raise LabError(f"site.login_secret_file: {path} cannot be read: {error}") from None
    if len(secret) < SHORTEST_SECRET or not (secret.isascii() and secret.isprintable()):
        raise LabError(
            f"site.login_secret_file: {path} must hold {SHORTEST_SECRET} printable ASCII characters or more",
            "make one with: openssl rand -hex 32",
        )
    return secret


def refusal(
    site: SiteSettings, problem: str, *, address: str | None, oidc: bool, login_headers: Collection[str]
) -> str:
    """Why the server must not open its port as it is configured, in one sentence; '' when it may.

    problem: why config.yaml cannot be used, or ''. oidc: secrets.toml has a section auth. login_headers: the names in
    server.trustedUserHeaders.
    """
    if (address or "").startswith("unix://"):
        return f"server.address is {address}, and Unix sockets do not work with this lab: use 127.0.0.1"
    with_login = oidc or bool(login_headers)
    if problem and (with_login or not is_loopback(address)):
        return f"{problem}; until it is right, the lab opens without a login and on 127.0.0.1 only"
    if oidc and login_headers:
        return "two logins are configured, [auth] in secrets.toml and server.trustedUserHeaders: remove one"
    if oidc and not site.members:
        return (
            "site.members is empty, so [auth] in secrets.toml would admit everyone whom the provider knows. List "
            'who may enter in config.yaml, such as site.members: ["ana@example.org", "*@lab.example.org"]'
        )
    if login_headers and site.login_secret_file is None:
        return (
            "server.trustedUserHeaders believes a login from anyone who reaches the port. Let the proxy send "
            f"{HEADER_OF_PROXY} too, and name the file with that secret in site.login_secret_file "
            "(docs/deployment.md)"
        )
    if site.has_login and not with_login:
        return (
            "site.members or site.login_secret_file asks for a login and none is configured: add [auth] to "
            "secrets.toml or server.trustedUserHeaders to lab/.streamlit/config.toml (docs/deployment.md)"
        )
    if not (with_login or site.open_without_login or is_loopback(address)):
        where = f"server.address is {address}" if address else "server.address is not set"
        return f"{where}, so this lab would be open beyond this machine without a login: {THREE_WAYS}"
    return ""


def door() -> list[Middleware]:
    """The door of this installation, for st.App. Ends the process with one sentence where it must not be opened."""
    site, problem = read_site()
    headers: Mapping[str, str] = st.get_option("server.trustedUserHeaders") or {}
    address: str | None = st.get_option("server.address")
    words = refusal(site, problem, address=address, oidc=bool(auth_section()), login_headers=headers)
    if not words and auth_section() and find_spec("authlib") is None:
        words = 'the login of secrets.toml needs Authlib: pip install "streamlit[auth]"'
    if words:
        sys.exit(f"error: {words}")
    try:
        secret = read_secret(site.login_secret_file) if site.login_secret_file else ""
    except LabError as error:
        sys.exit(f"error: {error}")
    own = (address, st.get_option("browser.serverAddress"), urlsplit(auth_section().get("redirect_uri", "")).hostname)
    return [
        Middleware(
            Door,
            hosts=[*site.allowed_hosts, *(name for name in own if name)],
            origins=st.get_option("server.corsAllowedOrigins"),
            secret=secret,
            login_headers=headers,
            has_login=site.has_login,
        ),
        Middleware(PageScript),
    ]


@asynccontextmanager
async def browser_opened(app: object) -> AsyncIterator[None]:
    """The lifespan of st.App: on a desktop the lab opens in the browser, as `streamlit run` does for a plain script."""
    if not st.get_option("server.headless"):
        scheme = "https" if st.get_option("server.sslCertFile") else "http"
        address = st.get_option("server.address")
        address = "localhost" if address in (None, "", "0.0.0.0", "::") else address  # noqa: S104
        base = st.get_option("server.baseUrlPath").strip("/")
        page = f"{scheme}://{address}:{st.get_option('server.port')}/{base}"
        asyncio.get_running_loop().call_later(OPENS_AFTER_S, webbrowser.open, page)
    yield


def auth_section() -> Mapping[str, str]:
    """The section auth of Streamlit's secrets.toml; empty where there is none."""
    section: Mapping[str, str] = st.secrets.get("auth", {}) if st.secrets.load_if_toml_exists() else {}
    return section
