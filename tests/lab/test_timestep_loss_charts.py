"""Loss against t: the band, the guess, and what a log axis can show."""

from __future__ import annotations

import numpy as np

from lab.charts.timestep_loss import LossCurve, loss_figure

X = np.arange(4.0)


def curve(name: str = "run", **changes: object) -> LossCurve:
    values = {"name": name, "x": X, "mean": np.ones(4), "error": np.full(4, 0.1), "guess": np.full(4, 2.0), **changes}
    return LossCurve(**values)  # type: ignore[arg-type]


def figure(*curves: LossCurve, log_y: bool = False):  # type: ignore[no-untyped-def]
    return loss_figure(curves, title="Error", x_title="t", log_y=log_y)


def test_the_band_is_two_standard_errors_each_way() -> None:
    band = figure(curve()).data[0]
    assert list(band.y) == [1.2] * 4 + [0.8] * 4
    assert list(band.x) == [0, 1, 2, 3, 3, 2, 1, 0]


def test_a_band_below_zero_stays_on_a_log_axis() -> None:
    assert min(figure(curve(error=np.full(4, 3.0)), log_y=True).data[0].y) > 0


def test_two_runs_differ_in_colour_and_so_do_their_guesses_in_dash() -> None:
    drawn = figure(curve("a"), curve("b"))
    lines = {trace.name: trace.line for trace in drawn.data if trace.name}
    assert lines["a"].color != lines["b"].color
    assert lines["best linear guess, a"].dash != lines["best linear guess, b"].dash


def test_without_a_guess_there_is_no_line_of_it() -> None:
    assert [trace.name for trace in figure(curve(guess=None)).data if trace.name] == ["run"]


def test_names_are_text_and_no_html() -> None:
    assert "<a" not in figure(curve("<a href='x'>x</a>")).to_json()
