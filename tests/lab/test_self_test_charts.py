"""The self-test's charts: what is drawn of what was measured."""

from __future__ import annotations

import numpy as np

from core.diffusion.solver_curve import SampleDensity
from lab.schedulers.self_test_chart import error_figure, histogram_figure

X = np.array([10.0, 20.0, 40.0])


def test_diverged_points_are_not_drawn() -> None:
    drawn = error_figure({"heun": (X, np.array([np.inf, 0.2, 0.1])), "lms": (X, np.full(3, np.inf))}, title="Error")
    lines = {trace.name: list(trace.y) for trace in drawn.data if trace.name}
    assert lines == {"heun": [0.2, 0.1], "lms": []}


def test_the_guides_fall_with_their_order() -> None:
    drawn = error_figure({"euler": (X, 1 / X)}, title="Error")
    first, second = (trace.y for trace in drawn.data if not trace.name)
    assert first[0] / first[1] == 4 and second[0] / second[1] == 16


def test_more_samplers_than_colours_differ_in_dash_and_mark() -> None:
    drawn = error_figure({str(place): (X, 1 / X) for place in range(10)}, title="Error")
    looks = {(trace.line.color, trace.line.dash, trace.marker.symbol) for trace in drawn.data if trace.name}
    assert len(looks) == 10


def test_nothing_to_draw_is_no_trouble() -> None:
    assert error_figure({}, title="Error").to_json()


def test_truth_is_a_line_and_samples_are_bars() -> None:
    density = SampleDensity(x=X, truth=X, centers=X, found=X + 1)
    drawn = histogram_figure(density, title="<b>x</b>")
    assert [trace.type for trace in drawn.data] == ["bar", "scatter"]
    assert "<b>" not in drawn.to_json()
