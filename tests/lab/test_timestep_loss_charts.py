"""Loss against t: the band, the guesses, the schedule beneath, and what an axis can show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lab.schedulers.timestep_loss_chart import Guess, LossCurve, leaves_the_chart, loss_figure

X = np.arange(8.0)
LINEAR = Guess(name="best linear guess", y=np.linspace(0.1, 2.0, 8))
AVERAGE = Guess(name="guessing the average", y=np.full(8, 2.0))


def curve(name: str = "run", **changes: Any) -> LossCurve:
    values: dict[str, Any] = {
        "name": name,
        "x": X,
        "mean": np.ones(8),
        "error": np.full(8, 0.1),
        "alpha_bar": np.linspace(1, 0, 8),
        "schedule": "cosine",
        "guesses": (LINEAR, AVERAGE),
        **changes,
    }
    return LossCurve(**values)


def figure(*curves: LossCurve, **options: Any) -> Any:
    return loss_figure(curves, **{"title": "Error", "x_title": "t", **options})


def named(drawn: Any, name: str) -> list[Any]:
    return [trace for trace in drawn.data if trace.name == name]


def test_the_band_is_two_standard_errors_each_way() -> None:
    (band,) = named(figure(curve()), "band")
    np.testing.assert_allclose(band.y, [1.2] * 8 + [0.8] * 8)
    assert list(band.x) == [*X, *X[::-1]]


def test_a_band_below_zero_stays_on_a_log_axis() -> None:
    drawn = figure(curve(error=np.full(8, 3.0)), log_y=True)
    assert min(named(drawn, "band")[0].y) > 0
    assert drawn.layout.yaxis.type == "log"


def test_loss_and_schedule_share_the_axis_and_lie_above_each_other() -> None:
    drawn = figure(curve())
    (beneath,) = named(drawn, "cosine")
    assert (beneath.yaxis, beneath.xaxis) == ("y2", None)
    assert list(beneath.y) == list(np.linspace(1, 0, 8))
    assert drawn.layout.yaxis2.domain[1] < drawn.layout.yaxis.domain[0]


def test_two_runs_differ_in_colour_and_each_has_its_schedule_in_that_colour() -> None:
    drawn = figure(curve("a"), curve("b", schedule="flow"))
    (a,), (b,), (flow,) = named(drawn, "a"), named(drawn, "b"), named(drawn, "flow")
    assert a.line.color != b.line.color
    assert flow.line.color == b.line.color


def test_a_guess_that_two_runs_share_is_drawn_once_and_others_differ_in_dash() -> None:
    other = Guess(name="best linear guess", y=LINEAR.y * 0.9)
    drawn = figure(curve("a"), curve("b", guesses=(other, AVERAGE)))
    assert len(named(drawn, "guessing the average")) == 1
    first, second = named(drawn, "best linear guess")
    assert first.line.dash != second.line.dash


def test_every_line_is_named_beside_it() -> None:
    drawn = figure(curve("a"), curve("b", mean=np.full(8, 0.5)))
    notes = {note.text: note for note in drawn.layout.annotations}
    assert set(notes) == {"a", "b", "best linear guess", "guessing the average"}
    assert (notes["a"].yanchor, notes["b"].yanchor) == ("bottom", "top")  # the upper one above, the lower one below


def test_of_two_guesses_that_cross_each_is_named_where_it_is_the_upper_one() -> None:
    rising, falling = Guess(name="rising", y=np.linspace(0, 1, 8)), Guess(name="falling", y=np.linspace(1, 0, 8))
    drawn = figure(curve("a", guesses=(rising,)), curve("b", guesses=(falling,)))
    notes = {note.text: note for note in drawn.layout.annotations}
    assert notes["falling"].x < 3.5 < notes["rising"].x


def test_names_stand_at_the_right_height_of_a_log_axis() -> None:
    (note,) = figure(curve(guesses=(), mean=np.full(8, 0.01)), log_y=True).layout.annotations
    assert note.y == pytest.approx(-2.0)


def test_an_error_far_above_the_guesses_leaves_the_chart_and_is_told() -> None:
    far = curve("far", mean=np.append(np.ones(7), 1e5))
    assert figure(far).layout.yaxis.range == (0, pytest.approx(3.2))
    assert leaves_the_chart([curve(), far], log_y=False) == ["far"]
    assert leaves_the_chart([far], log_y=True) == []
    assert figure(far, log_y=True).layout.yaxis.range[1] > 5


def test_an_error_near_the_guesses_keeps_the_whole_axis_from_zero() -> None:
    drawn = figure(curve(mean=np.full(8, 3.0)))
    assert drawn.layout.yaxis.rangemode == "tozero"
    assert drawn.layout.yaxis.range is None
    assert leaves_the_chart([curve(mean=np.full(8, 3.0))], log_y=False) == []


def test_a_last_timestep_a_billion_times_below_does_not_flatten_a_log_axis() -> None:
    low, high = figure(curve(mean=np.append(np.ones(7), 1e-9)), log_y=True).layout.yaxis.range
    assert (low, high) == (pytest.approx(np.log10(2e-4) - 0.15), pytest.approx(np.log10(2.0) + 0.3))


def test_the_axis_of_noise_runs_backwards_when_asked() -> None:
    assert figure(curve(), x_range=(10.0, -8.0)).layout.xaxis.range == (10.0, -8.0)


def test_without_guesses_or_points_it_is_still_a_chart() -> None:
    nothing = np.array([])
    empty = curve(x=nothing, mean=nothing, error=nothing, alpha_bar=nothing, guesses=())
    assert figure(empty).layout.annotations == ()
    assert figure(empty, log_y=True).layout.yaxis.range is None
    assert figure(curve(guesses=())).layout.yaxis.rangemode == "tozero"


def test_names_are_text_and_no_html() -> None:
    assert "<a" not in figure(curve("<a href='x'>x</a>", schedule="<a>")).to_json()


def test_light_and_dark_have_their_own_colours() -> None:
    light, dark = (named(figure(curve(), theme=theme), "run")[0].line.color for theme in ("light", "dark"))
    assert light != dark
