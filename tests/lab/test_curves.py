"""Figures of a run's curves."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from lab.charts.curves import POINTS, Curve, Mark, curve_figure, missing_values, smoothed, spans_decades, sparkline
from lab.charts.palette import DARK, LIGHT, palette

INK = LIGHT.training


def figure_of(y: np.ndarray, **options: object) -> go.Figure:
    curve = Curve(name="loss", ink=INK, x=np.arange(1, len(y) + 1, dtype=float), y=y, smooth=True)
    return curve_figure([curve], title="Loss", y_title="loss", x_total=len(y), **options)  # type: ignore[arg-type]


def test_a_long_run_is_drawn_with_few_points_and_keeps_its_spike() -> None:
    y = np.ones(100_000)
    y[54_321] = 9.0
    raw = figure_of(y).data[0]
    assert len(raw.x) <= POINTS
    assert max(raw.y) == 9.0


def test_zooming_in_shows_every_point_of_the_range_again() -> None:
    figure = figure_of(np.linspace(2, 1, 100_000), x_range=(50_000.0, 50_100.0))
    assert list(figure.data[0].x) == list(range(50_000, 50_101))
    assert tuple(figure.layout.xaxis.range) == (50_000, 50_100)


def test_values_that_are_not_numbers_are_left_out_of_the_line_and_marked() -> None:
    y = np.array([1.0, np.nan, 0.5, np.inf, 0.4])
    marks = missing_values(np.arange(5.0), y, LIGHT.trouble)
    assert [mark.x for mark in marks] == [1, 3]
    assert list(figure_of(y).data[0].y) == [1.0, 0.5, 0.4]


def test_thousands_of_missing_values_do_not_fill_the_chart_with_marks() -> None:
    assert len(missing_values(np.arange(5000.0), np.full(5000, np.nan), LIGHT.trouble)) == 20


def test_marks_outside_the_zoom_are_not_drawn() -> None:
    marks = [Mark(x=5, ink=LIGHT.event, text="resumed"), Mark(x=500, ink=LIGHT.event, text="resumed")]
    assert len(figure_of(np.ones(1000), x_range=(0.0, 100.0), marks=marks).layout.shapes) == 1


@pytest.mark.parametrize("y", [np.zeros(0), np.array([np.nan]), np.array([1.0]), np.array([0.0, -1.0])])
@pytest.mark.parametrize("log_y", [False, True])
def test_odd_curves_make_a_figure(y: np.ndarray, log_y: bool) -> None:
    assert figure_of(y, log_y=log_y).to_plotly_json()


def test_two_lines_have_their_names_beside_them_in_readable_ink() -> None:
    x = np.arange(10.0)
    curves = [Curve(name="training", ink=INK, x=x, y=x + 1), Curve(name="held out", ink=LIGHT.held_out, x=x, y=x + 2)]
    figure = curve_figure(curves, title="Loss", y_title="loss", x_total=10)
    assert [(note.text, note.font.color) for note in figure.layout.annotations] == [
        ("training", INK.text),
        ("held out", LIGHT.held_out.text),
    ]
    assert figure.layout.showlegend is False


@pytest.mark.parametrize("log_y", [False, True])
@pytest.mark.parametrize(("held_out", "sides"), [(2.0, ("top", "bottom")), (0.5, ("bottom", "top"))])
def test_the_higher_line_has_its_name_above_and_the_lower_below(
    held_out: float, sides: tuple[str, str], log_y: bool
) -> None:
    x = np.arange(10.0)
    curves = [
        Curve(name="training", ink=INK, x=x, y=np.ones(10)),
        Curve(name="held out", ink=LIGHT.held_out, x=x, y=np.full(10, held_out), markers=True),
    ]
    figure = curve_figure(curves, title="Loss", y_title="loss", x_total=10, log_y=log_y)
    assert tuple(note.yanchor for note in figure.layout.annotations) == sides


def test_a_line_without_values_has_no_name() -> None:
    x = np.arange(10.0)
    curves = [Curve(name="training", ink=INK, x=x, y=x), Curve(name="held out", ink=INK, x=x, y=np.full(10, np.nan))]
    figure = curve_figure(curves, title="Loss", y_title="loss", x_total=10)
    assert [note.text for note in figure.layout.annotations] == ["training"]


def test_smoothing_neither_lags_nor_leads() -> None:
    line = np.linspace(0, 1, 900)
    assert np.allclose(smoothed(line)[50:-50], line[50:-50])


def test_short_curves_are_not_smoothed() -> None:
    values = np.array([1.0, 5.0, 1.0])
    assert smoothed(values) is values


@pytest.mark.parametrize(
    ("values", "expected"), [([1.0, 100.0], True), ([1.0, 2.0], False), ([0.0, 5.0], False), ([np.nan], False)]
)
def test_a_log_scale_is_proposed_for_positive_values_over_decades(values: list[float], expected: bool) -> None:
    assert spans_decades(np.array(values)) is expected


def test_a_sparkline_keeps_its_ends_and_is_short() -> None:
    line = sparkline(np.append(np.arange(1000.0), np.nan))
    assert (line[0], line[-1], len(line)) == (0.0, 999.0, 40)


def test_colours_follow_the_theme() -> None:
    assert palette("dark") is DARK
    assert palette("light") is palette(None) is LIGHT
