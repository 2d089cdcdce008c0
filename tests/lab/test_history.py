"""The machine's history as a chart: nothing is invented where nobody measured."""

from __future__ import annotations

import numpy as np
import pytest

from lab.machine.history_chart import HistoryLine, history_figure, with_gaps

START = np.datetime64("2026-11-24T10:00:00", "ms")


def line(name: str, seconds: list[float], y: list[float]) -> HistoryLine:
    x = START + (np.array(seconds) * 1000).astype("timedelta64[ms]")
    return HistoryLine(name=name, color="#2563EB", x=x, y=np.array(y))


def test_a_pause_breaks_the_line() -> None:
    measured = line("GPU 0", [0, 10, 20, 30, 300, 310, 320], [0.1] * 7)
    x, y = with_gaps(measured.x, measured.y)
    assert np.isnan(y).sum() == 1
    assert np.flatnonzero(np.isnan(y)).tolist() == [4]
    assert measured.x[3] < x[4] < measured.x[4]


def test_an_even_line_stays_as_it_is() -> None:
    measured = line("GPU 0", [0, 10, 20, 31, 40], [0.1, 0.2, 0.3, 0.4, 0.5])
    np.testing.assert_array_equal(with_gaps(measured.x, measured.y)[1], measured.y)


@pytest.mark.parametrize("points", [0, 1, 2])
def test_a_few_points_are_no_gap(points: int) -> None:
    measured = line("CPU", [0.0, 5000.0][:points], [0.5, 0.6][:points])
    assert len(with_gaps(measured.x, measured.y)[0]) == points


@pytest.mark.parametrize(("devices", "names", "legend"), [(1, 0, False), (3, 3, False), (8, 0, True)])
def test_up_to_four_lines_are_named_at_their_ends_and_more_in_a_legend(devices: int, names: int, legend: bool) -> None:
    lines = [line(f"GPU {index}", [0, 10, 20], [0.5, 0.5, 0.5]) for index in range(devices)]
    figure = history_figure(lines, title="Computing", start=START, end=START + np.timedelta64(1, "h"))
    assert len(figure.layout.annotations) == names
    assert figure.layout.showlegend is legend


def test_names_of_lines_that_end_together_do_not_lie_on_each_other() -> None:
    lines = [line(f"GPU {index}", [0, 10, 20], [0.5, 0.5, 0.5]) for index in range(4)]
    figure = history_figure(lines, title="Computing", start=START, end=START + np.timedelta64(1, "h"))
    heights = sorted(annotation.y for annotation in figure.layout.annotations)
    assert min(np.diff(heights)) >= 0.08


def test_a_line_without_a_known_value_has_no_name() -> None:
    lines = [line("GPU 0", [0, 10, 20], [np.nan] * 3), line("GPU 1", [0, 10, 20], [0.2] * 3)]
    figure = history_figure(lines, title="Computing", start=START, end=START + np.timedelta64(1, "h"))
    assert [annotation.text for annotation in figure.layout.annotations] == ["GPU 1"]
