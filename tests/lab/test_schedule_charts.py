"""Curves of schedules and the ticks of samplers: what is in the figure."""

from __future__ import annotations

import numpy as np
import pytest

from lab.schedulers.schedule_chart import POINTS, Line, schedule_figure, visited_figure


def line(name: str, y: np.ndarray) -> Line:
    return Line(name=name, x=np.arange(len(y), dtype=float), y=y)


def figure(lines: list[Line], **options: object):  # type: ignore[no-untyped-def]
    return schedule_figure(lines, title="Share", x_title="t", y_title="a", **options)  # type: ignore[arg-type]


def test_long_lines_are_thinned_and_keep_their_ends() -> None:
    trace = figure([line("a", np.linspace(1, 0, 10_000))]).data[0]
    assert len(trace.x) == POINTS
    assert (trace.x[0], trace.x[-1]) == (0, 9999)


def test_what_an_axis_cannot_show_is_left_out() -> None:
    y = np.array([1.0, np.nan, np.inf, 0.0, -1.0, 2.0])
    assert list(figure([line("a", y)]).data[0].y) == [1, 0, -1, 2]
    assert list(figure([line("a", y)], log_y=True).data[0].y) == [1, 2]
    assert list(figure([line("a", y)], log_x=True).data[0].y) == [0, -1, 2]


@pytest.mark.parametrize(("count", "named"), [(4, True), (5, False)])
def test_few_lines_are_named_directly_many_in_a_legend(count: int, named: bool) -> None:
    drawn = figure([line(str(place), np.ones(5)) for place in range(count)])
    assert (len(drawn.layout.annotations) == count) is named
    assert all(trace.showlegend is not named for trace in drawn.data)


def test_names_lie_on_the_log_of_what_they_name() -> None:
    note = figure([line("a", np.full(5, 100.0))], log_y=True).layout.annotations[0]
    assert note.y == pytest.approx(2.0)


def test_a_line_without_points_is_no_trouble() -> None:
    assert figure([line("flow", np.full(5, np.nan))]).data[0].x is not None


def test_names_are_text_and_no_html() -> None:
    assert "<a" not in figure([line("<a href='x'>x</a>", np.ones(3))]).to_json()


def test_every_sampler_has_a_row_of_its_ticks() -> None:
    drawn = visited_figure({"unipc": np.array([999.0, 499.0]), "ddim": np.array([999.0])}, num_train_timesteps=1000)
    assert [list(trace.x) for trace in drawn.data] == [[999, 499], [999]]
