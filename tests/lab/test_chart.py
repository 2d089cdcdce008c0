"""A chart's way to the browser: the address of Plotly's script, and what a screen reader says of a chart."""

from __future__ import annotations

import gzip
from importlib.resources import files

import numpy as np
import plotly.graph_objects as go
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from lab.frame.page_script import SCRIPT
from lab.frame.plotly_script import PATH, plotly_route
from lab.widgets.chart import MOST_DECADES, as_text, bound, frame, spoken
from lab.widgets.curves import Curve, curve_figure
from lab.widgets.palette import palette
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


def loss_axis(values: list[float], *, log_y: bool) -> go.layout.YAxis:
    y = np.array([0.05, 0.06] * 50 + values)
    curve = Curve(name="loss", x=np.arange(len(y), dtype=float), y=y, ink=palette("light").training)
    figure = curve_figure([curve], title="Loss", y_title="loss", x_total=float(len(y)), log_y=log_y)
    bound(figure)
    assert np.array_equal(figure.data[-1].y, y[np.isfinite(y)]), "the values stay"
    return figure.layout.yaxis


@pytest.mark.parametrize("values", [[1e300], [1e-300], [1e300, 1e-300], [1.7e308, 5e-324], [1e300, np.inf]])
def test_one_wild_value_leaves_a_logarithmic_axis_that_can_be_drawn_around_the_others(values: list[float]) -> None:
    axis = loss_axis(values, log_y=True)
    low, high = axis.range
    assert high - low <= MOST_DECADES and low < np.log10(0.05) < high
    assert axis.dtick is None  # three ticks in each of 300 powers of ten hang a tab


@pytest.mark.parametrize(("values", "dtick"), [([1.0], "D2"), ([1e5], "D2"), ([1e9], None)])
def test_an_axis_of_usual_values_keeps_its_ends_to_itself(values: list[float], dtick: str | None) -> None:
    axis = loss_axis(values, log_y=True)
    assert (axis.range, axis.dtick) == (None, dtick)
    assert loss_axis(values, log_y=False).range is None


@pytest.mark.parametrize(
    "values",
    [
        [1e16, 1e16 + 2],
        [5e-324, 5e-324],
        [1.7e308, -1.7e308],
        [1.7e308, 1.7e308],
        [0.0, 5e-324],
        [-1e16, -1e16 - 2],
        [1e300, 1.0000000000001e300],
    ],
)
def test_where_a_step_between_ticks_would_be_lost_a_linear_axis_has_ends(values: list[float]) -> None:
    figure = go.Figure(data=[{"type": "scatter", "x": [0, 1], "y": np.array(values)}], layout={"yaxis": {}})
    bound(figure)
    low, high = figure.layout.yaxis.range
    assert np.isfinite(high - low) or np.isfinite([low, high]).all()
    assert low < high and (high - low) > 1e-9 * max(abs(low), abs(high))


def test_axes_without_numbers_and_a_second_axis_are_bounded_each_for_itself() -> None:
    wild = np.array([1.0, 1e300])
    figure = go.Figure(
        data=[
            {"type": "bar", "x": ["a", "b"], "y": np.array([1, 2])},
            {"type": "scatter", "x": ["a", "b"], "y": wild, "yaxis": "y2"},
            {"type": "scatter", "x": [], "y": []},
        ],
        layout={"yaxis2": {"type": "log"}},
    )
    bound(figure)
    assert figure.layout.yaxis.range is None and figure.layout.xaxis.range is None
    assert figure.layout.yaxis2.range[1] - figure.layout.yaxis2.range[0] <= MOST_DECADES
