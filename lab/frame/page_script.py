"""The lab's own scripts in the head of the page, before Streamlit's: history, the header, Plotly."""

from __future__ import annotations

from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lab.frame.plotly_script import PATH

_PARTS = ("history.js", "header.js", "plotly.js")
SCRIPT = b";\n".join(Path(__file__).with_name(name).read_bytes() for name in _PARTS)
SCRIPT = SCRIPT.replace(b"PLOTLY_PATH", PATH.encode())
HEAD = b"<head>"
_OF_THE_PAGE = (b"content-length", b"etag", b"last-modified")
_FOR_THE_PAGE = (b"accept-encoding", b"if-none-match", b"if-modified-since", b"range")


class PageScript:
    """ASGI middleware: puts SCRIPT at the beginning of every HTML page. The page comes whole and uncompressed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and change what is HTML."""
        if scope["type"] != "http" or not any(b"text/html" in value for _, value in scope["headers"]):
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def changed(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                kinds = [value for name, value in message["headers"] if name.lower() == b"content-type"]
                if not any(b"text/html" in kind for kind in kinds):
                    await send(message)
                    return
                start = message
            elif start is None or message["type"] != "http.response.body":
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    page = body.replace(HEAD, HEAD + b"<script>" + SCRIPT + b"</script>", 1)
                    headers = [pair for pair in start["headers"] if pair[0].lower() not in _OF_THE_PAGE]
                    length = (b"content-length", str(len(page)).encode())
                    await send({**start, "headers": [*headers, length]})
                    await send({**message, "body": page if scope["method"] != "HEAD" else b""})

        asked = [pair for pair in scope["headers"] if pair[0].lower() not in _FOR_THE_PAGE]
        await self.app({**scope, "headers": asked}, receive, changed)
