"""A chart's way to the browser: the address of Plotly's script, and what a screen reader says of a chart."""

from __future__ import annotations

import gzip
from importlib.resources import files

import plotly.graph_objects as go
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from lab.frame.page_script import SCRIPT
from lab.frame.plotly_script import PATH, plotly_route
from lab.widgets.chart import as_text, frame, spoken
from tests.figures import figures_of

WHOLE = files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()


@pytest.mark.parametrize("base", ["", "lab", "/lab/", "team/lab"])
@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_plotly_comes_from_its_package_below_the_base_path_and_is_cached(base: str, accepted: str) -> None:
    client = TestClient(Starlette(routes=[plotly_route(base)]))
    path = f"{base.strip('/')}/{PATH}".lstrip("/")
    with client.stream("GET", f"/{path}", headers={"accept-encoding": accepted}) as answer:
        sent = b"".join(answer.iter_raw())
    assert answer.status_code == 200
    assert (gzip.decompress(sent) if accepted == "gzip" else sent) == WHOLE
    assert answer.headers.get("content-encoding", "identity") == accepted
    assert "immutable" in answer.headers["cache-control"]
    assert client.get(f"/{path.replace('lab/plotly-', 'lab/plotly-0')}").status_code == 404


def test_the_page_asks_for_the_version_that_is_served() -> None:
    assert f'"./{PATH}"'.encode() in SCRIPT


def test_a_chart_is_spoken_with_the_last_values_of_its_lines() -> None:
    lines = [
        {"type": "scatter", "name": as_text("a <b>"), "x": [1, 2], "y": [0.5, 0.25]},
        {"type": "scatter", "name": "without", "x": [], "y": []},
        {"type": "bar", "name": "bars", "x": [1], "y": [2]},
        {"type": "scatter", "x": [1], "y": [1.0]},
        {"type": "scatter", "name": "not touched", "hoverinfo": "skip", "x": [1], "y": [1.0]},
    ]
    figure = go.Figure(data=lines, layout=frame("Loss & more", height=200, x="step"))
    assert spoken(figure) == "Loss & more; over step; a <b>, last 0.25; without; bars"


def test_a_figure_reaches_the_browser_without_colors_of_another_theme() -> None:
    app = AppTest.from_string("""import plotly.graph_objects as go
from lab.widgets.chart import frame, show_chart
show_chart(go.Figure(data=[{"type": "bar", "y": [1]}], layout=frame("Bars", height=200)), key="bars")""").run()
    (figure,) = figures_of(app)
    assert figure["data"] == [{"type": "bar", "y": [1]}]
    assert set(figure["layout"]) == {"title", "height", "margin"}
