"""Plotly's script for the browser, from the Python package: no internet, and one version for both sides."""

from __future__ import annotations

import gzip
from functools import cache
from importlib.metadata import version
from importlib.resources import files

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATH = f"lab/plotly-{version('plotly')}.min.js"
HEADERS = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}


def plotly_route(base: str = "") -> Route:
    """Answers GET for PATH below the server's base path, to be cached for a year: another version, another address."""
    return Route(f"/{base.strip('/')}/{PATH}".replace("//", "/"), _answer)


async def _answer(request: Request) -> Response:
    zipped = "gzip" in request.headers.get("accept-encoding", "")
    body = await run_in_threadpool(_zipped if zipped else _script)
    headers = {**HEADERS, "content-encoding": "gzip"} if zipped else HEADERS
    return Response(body, media_type="text/javascript", headers=headers)


def _script() -> bytes:
    return files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()


@cache
def _zipped() -> bytes:
    """1.5 MB instead of 4.8, compressed once per server."""
    return gzip.compress(_script(), compresslevel=6)
