"""Figures of a run's curves."""

from __future__ import annotations

import base64
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from core.runs.metrics import MetricsWriter
from core.runs.run import Run, RunState
from core.runs.store import RunStore
from lab.services import runs
from lab.widgets.curves import (
    AXES,
    POINTS,
    Curve,
    Mark,
    axis_end,
    curve_figure,
    missing_values,
    smoothed,
    spans_decades,
)
from lab.widgets.palette import DARK, LIGHT, categories, palette
from tests.figures import figures_of
from tests.pages.run_folders import make_run, tiny_settings, write_metrics

INK = LIGHT.training


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    st.cache_data.clear()
    st.cache_resource.clear()
    return RunStore(tmp_path / "runs")


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


def test_colours_follow_the_theme() -> None:
    assert palette("dark") is DARK
    assert palette("light") is palette(None) is LIGHT


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_of_runs_have_the_colours_of_the_theme(theme: str) -> None:
    config = tomllib.loads((Path(__file__).resolve().parents[2] / "lab" / ".streamlit" / "config.toml").read_text())
    assert list(categories(theme)) == config["theme"][theme]["chartCategoricalColors"][:6]


def test_without_smoothing_only_the_raw_values_are_drawn() -> None:
    figure = figure_of(np.arange(100.0), smoothing=0.0)
    assert len(figure.data) == 1
    assert list(figure.data[0].y) == list(range(100))


def test_the_raw_curve_stays_behind_the_smoothed_one() -> None:
    raw, front = figure_of(np.tile([0.0, 1.0], 500), smoothing=0.1).data
    assert raw.opacity < 0.5 < front.opacity
    assert {0.0, 1.0} == set(raw.y)
    assert np.abs(front.y - 0.5).max() < 0.02


def test_a_spike_does_not_pull_the_smoothed_line_of_a_long_run_up_by_how_it_is_drawn() -> None:
    y = np.ones(100_000)
    y[::100] = 9.0
    front = figure_of(y).data[1]
    assert np.allclose(front.y, 1.08, atol=0.01)


def test_words_on_marks_do_not_cover_each_other() -> None:
    marks = [Mark(x=float(step), ink=LIGHT.event, text="resumed") for step in (10, 12, 14, 900)]
    layout = figure_of(np.ones(1000), marks=marks).layout
    assert len(layout.shapes) == 4
    assert [note.x for note in layout.annotations] == [10, 900]


def test_names_are_text_and_no_html() -> None:
    curves = [
        Curve(name="<a href='http://198.51.100.7'>x</a>", ink=INK, x=np.arange(3.0), y=np.arange(3.0)),
        Curve(name="b", ink=INK, x=np.arange(3.0), y=np.arange(3.0)),
    ]
    figure = curve_figure(curves, title="Loss", y_title="", x_total=3)
    assert "<a" not in figure.to_json()


@pytest.mark.parametrize(
    ("last", "total", "end"), [(1, 1000, 1.953125), (100, 1000, 125), (200, 1000, 250), (460, 1000, 1000), (9, 5, 9)]
)
def test_a_young_run_fills_its_axis(last: float, total: float, end: float) -> None:
    assert axis_end(last, total) == pytest.approx(end)


def test_the_axis_of_a_run_without_steps_is_the_plan() -> None:
    assert axis_end(0, 1000) == 1000


def test_a_short_time_fills_an_axis_of_hours() -> None:
    curve = Curve(name="loss", ink=INK, x=np.arange(1, 5) / 3600, y=np.ones(4))
    figure = curve_figure([curve], title="", y_title="", x_total=4 / 3600, axis=AXES["hours"])
    assert figure.layout.xaxis.range[1] == pytest.approx(4 / 3600)


SOURCE = """import streamlit as st
from lab.runs.run_curves import loss_curve, metric_curves
from lab.services.runs import view_of
draw = {"loss": loss_curve, "rates": metric_curves}[st.session_state.which]
st.fragment(lambda: draw(view_of(st.session_state.run)))()"""


def drawn(run: Run, which: str = "loss", **state: object) -> AppTest:
    app = AppTest.from_string(SOURCE, default_timeout=600)
    app.session_state["run"], app.session_state["which"] = run.id, which
    for key, value in state.items():
        app.session_state[key] = value
    app.run()
    assert not app.exception
    return app


def figures(app: AppTest) -> list[go.Figure]:
    found = figures_of(app)
    for figure in found:
        for line in figure["data"]:
            for name in "xy":
                line[name] = np.frombuffer(base64.b64decode(line[name]["bdata"]), dtype=line[name]["dtype"])
    return [go.Figure(figure) for figure in found]


def test_a_run_has_three_charts_and_its_controls(store: RunStore) -> None:
    run = make_run(store)
    app = drawn(run)
    assert [figure.layout.title.text for figure in figures(app)] == ["Loss, lower is better"]
    assert [figure.layout.title.text for figure in figures(drawn(run, "rates"))] == [
        "Learning rate",
        "Gradient norm before clipping",
    ]
    assert app.slider[0].label == "Smoothing"
    assert [toggle.label for toggle in app.toggle] == ["log scale"]
    assert list(app.segmented_control[0].options) == ["steps", "images", "hours"]


@pytest.mark.parametrize(("axis", "end"), [("steps", 100), ("images", 6400), ("hours", 40 / 3600)])
def test_curves_can_be_drawn_over_steps_pictures_and_hours(axis: str, end: float, store: RunStore) -> None:
    app = drawn(make_run(store))
    app.segmented_control[0].set_value(axis).run()
    loss = figures(app)[0]
    assert loss.layout.xaxis.title.text == AXES[axis].title
    assert max(loss.data[0].x) == pytest.approx(end)
    assert loss.layout.xaxis.range[1] == pytest.approx(end)


def test_the_smoothing_can_be_turned_off(store: RunStore) -> None:
    app = drawn(make_run(store))
    before = len(figures(app)[0].data)
    app.slider[0].set_value(0).run()
    assert len(figures(app)[0].data) == before - 1


def test_a_zoom_is_of_its_axis_and_ends_at_a_click(store: RunStore) -> None:
    run = make_run(store)
    app = drawn(run, **{f"zoom-steps-{run.id}": (20.0, 60.0)})
    assert {figure.layout.xaxis.range for figure in figures(app)} == {(20, 60)}
    app.segmented_control[0].set_value("images").run()
    assert figures(app)[0].layout.xaxis.range == (0, 6400)
    app.segmented_control[0].set_value("steps").run()
    next(button for button in app.button if button.label == "Whole run").click().run()
    assert figures(app)[0].layout.xaxis.range == (0, 100)


def test_nans_and_resumes_are_marked_on_every_axis(store: RunStore) -> None:
    run = make_run(store, nonfinite=True)
    run.add_event("resumed", from_step=80)
    app = drawn(run)
    for axis, factor in (("steps", 1), ("images", 64), ("hours", 0.4 / 3600)):
        app.segmented_control[0].set_value(axis).run()
        notes = {note.text: note.x for note in figures(app)[0].layout.annotations}
        assert notes["resumed"] == pytest.approx(80 * factor)
        assert notes["not a number"] == pytest.approx(50 * factor)


def test_the_planned_learning_rate_is_drawn_while_there_is_something_left(store: RunStore) -> None:
    rate = figures(drawn(make_run(store, state=RunState.STOPPED, step=40), "rates"))[0]
    assert rate.data[0].line.dash == "dot"
    assert (min(rate.data[0].x), max(rate.data[0].x)) == (1, 100)
    assert all(line.line.dash != "dot" for line in figures(drawn(make_run(store), "rates"))[0].data)


def test_a_plan_that_cannot_be_read_is_left_out(store: RunStore) -> None:
    run = make_run(store, state=RunState.STOPPED, step=40)
    run.config_path.write_text("data: [not, a, section")
    assert len(figures(drawn(run, "rates"))[0].data) == 1


def branch_of(store: RunStore, parent: Run, step: int) -> Run:
    child = store.create("unet", tiny_settings(), branched_from=parent.id, branched_step=step)
    child.write_status(replace(child.status(), state=RunState.STOPPED, step=100, steps_total=100))
    write_metrics(child, step=100, logged=10)
    MetricsWriter(child.metrics_path).append({"step": 101, "loss": 0.1, "images_seen": 6464, "elapsed_s": 40.4})
    lines = child.metrics_path.read_text().splitlines(keepends=True)
    child.metrics_path.write_text("".join(line for line in lines if int(line.split()[1][:-1]) > step))
    return child


def test_before_a_branch_the_curve_of_its_parent_is_drawn_fainter(store: RunStore) -> None:
    parent = make_run(store)
    child = branch_of(store, parent, 40)
    loss = figures(drawn(child))[0]
    faint = [line for line in loss.data if line.name == "training" and line.opacity < 1]
    own = [line for line in loss.data if line.name == "training" and line.opacity == 1]
    assert max(faint[0].x) == 40
    assert min(own[0].x) > 40
    assert {note.text: note.x for note in loss.layout.annotations}["branched at step 40"] == 40


def test_a_branch_of_a_branch_goes_back_to_the_first_run(store: RunStore) -> None:
    first = make_run(store)
    second = branch_of(store, first, 40)
    third = branch_of(store, second, 70)
    steps = runs.before_branch(third)["step"]
    assert steps[0] == 5
    assert steps[-1] == 70
    assert (np.diff(steps) > 0).all()


def test_a_branch_whose_parent_is_gone_is_drawn_alone(store: RunStore) -> None:
    parent = make_run(store)
    child = branch_of(store, parent, 40)
    store.delete(parent.id)
    assert runs.before_branch(child) == {}
    notes = [note.text for note in figures(drawn(child))[0].layout.annotations]
    assert "branched at step 40" in notes


def test_a_run_that_claims_to_be_its_own_parent_is_drawn(store: RunStore) -> None:
    first = make_run(store)
    child = branch_of(store, first, 40)
    text = (first.folder / "run.json").read_text()
    (first.folder / "run.json").write_text(text.replace('"branched_from": ""', f'"branched_from": "{child.id}"'))
    assert len(runs.before_branch(child)["step"])


def test_a_run_without_lines_says_so_while_it_lives(store: RunStore) -> None:
    assert not figures(drawn(make_run(store, logged=0)))
    live = drawn(make_run(store, state=RunState.RUNNING, logged=0))
    assert "first logged steps" in live.caption[0].value
