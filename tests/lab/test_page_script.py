"""The script that stands in the head of every HTML page, and in nothing else."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from lab.frame.page_script import SCRIPT, PageScript

PAGE = "<html><head><title>Lab</title></head><body>" + "x" * 2000 + "</body></html>"
HTML = {"accept": "text/html", "accept-encoding": "gzip", "if-none-match": "old"}


def page(request: Request) -> Response:
    return HTMLResponse(PAGE, headers={"etag": "old"}, status_code=304 if "if-none-match" in request.headers else 200)


def words(_: Request) -> Response:
    return PlainTextResponse(PAGE)


@pytest.fixture(scope="module")
def client() -> TestClient:
    layers = [Middleware(PageScript), Middleware(GZipMiddleware)]
    routes = [Route("/", page), Route("/words", words)]
    return TestClient(Starlette(routes=routes, middleware=layers))


def test_the_script_comes_first_in_the_head_of_a_page(client: TestClient) -> None:
    answer = client.get("/", headers=HTML)
    assert answer.status_code == 200
    assert answer.content == PAGE.encode().replace(b"<head>", b"<head><script>" + SCRIPT + b"</script>")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "etag" not in answer.headers


def test_a_question_for_the_head_has_the_length_of_the_page(client: TestClient) -> None:
    assert int(client.head("/", headers=HTML).headers["content-length"]) == len(client.get("/", headers=HTML).content)


@pytest.mark.parametrize(("path", "accepted"), [("/words", "text/html"), ("/", "*/*")])
def test_everything_else_passes_as_it_is(client: TestClient, path: str, accepted: str) -> None:
    assert client.get(path, headers={"accept": accepted}).text == PAGE
