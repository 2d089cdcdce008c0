"""Quality against cost: what is drawn, with which axes, and where the reference lies."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lab.schedulers.comparison_chart import Level, Point, Series, quality_cost_figure


def point(cost: float, quality: float, *, marked: bool = False, words: str = "") -> Point:
    return Point(cost=cost, quality=quality, words=words, marked=marked)


def figure(series: list[Series], **changes: Any) -> Any:
    options: dict[str, Any] = {
        "front": [(10, 0.5), (20, 0.3)],
        "title": "t",
        "cost_title": "cost",
        "quality_title": "quality",
        **changes,
    }
    return quality_cost_figure(series, **options)


TWO = [
    Series(name="unipc", points=[point(20, 0.3, marked=True), point(10, 0.5)]),
    Series(name="<b>euler</b>", points=[point(10, 0.6), point(20, 0.4, words="euler<br>20 evaluations")]),
]


def test_a_line_a_row_from_cheap_to_dear_behind_it_the_front() -> None:
    front, unipc, euler = figure(TWO).data
    assert (front.name, list(front.x), list(front.y)) == ("Pareto front", [10, 20], [0.5, 0.3])
    assert (list(unipc.x), list(unipc.y)) == ([10, 20], [0.5, 0.3])
    assert list(unipc.marker.symbol) == ["circle-open", "circle"]  # filled: as good as the reference
    assert unipc.line.color != euler.line.color


def test_what_people_named_is_text_for_plotly() -> None:
    _, _, euler = figure(TWO).data
    assert euler.name == "&lt;b&gt;euler&lt;/b&gt;"
    assert list(euler.text) == ["", "euler<br>20 evaluations"]


def test_the_reference_is_a_dashed_line_with_its_band_and_its_name() -> None:
    drawn = figure(TWO, reference=Level(quality=0.29, low=0.27, high=0.31, name="1,000-step ancestral sampling"))
    band, line = drawn.layout.shapes
    assert (band.y0, band.y1) == (0.27, 0.31)
    assert line.y0 == line.y1 == 0.29
    assert drawn.layout.annotations[0].text == "1,000-step ancestral sampling"
    assert drawn.layout.annotations[0].y == pytest.approx(0.29)


def test_a_wide_spread_gets_a_log_axis_and_the_name_follows() -> None:
    wide = [Series(name="euler", points=[point(2, 90.0), point(50, 0.4)])]
    drawn = figure(wide, reference=Level(quality=0.3, low=0.0, high=0.4, name="r"))
    assert drawn.layout.yaxis.type == "log"
    assert drawn.layout.annotations[0].y == pytest.approx(math.log10(0.3))
    assert drawn.layout.shapes[0].y0 == pytest.approx(0.1)  # a band down to 0 has no place on a log axis
    assert drawn.layout.yaxis.range[0] < math.log10(0.3)
    assert drawn.layout.yaxis.range[1] > math.log10(90.0)


def test_shares_keep_a_linear_axis_in_percent() -> None:
    drawn = figure([Series(name="a", points=[point(2, 0.02), point(50, 0.99)])], percent=True)
    assert (drawn.layout.yaxis.type, drawn.layout.yaxis.tickformat) == ("linear", ".0%")


def test_ten_rows_differ_by_colour_or_by_symbol() -> None:
    many = [Series(name=str(place), points=[point(1, 1.0)]) for place in range(10)]
    looks = {(trace.line.color, trace.marker.symbol[0]) for trace in figure(many, front=[]).data}
    assert len(looks) == 10


def test_nothing_drawn_yet_is_an_empty_chart() -> None:
    assert len(figure([Series(name="unipc", points=[])], front=[]).data) == 0


def test_light_and_dark_have_their_own_colours() -> None:
    assert figure(TWO, theme="dark").data[1].line.color != figure(TWO, theme="light").data[1].line.color
