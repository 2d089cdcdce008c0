"""Several runs in one chart."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from core.runs.run import RunState
from core.runs.store import RunStore
from lab.compare.curves import metrics_of
from lab.compare.curves_chart import LABEL_PX, overlay_figure
from lab.widgets.curves import POINTS, Curve
from lab.widgets.palette import Ink, categories
from tests.figures import figures_of
from tests.pages.run_folders import make_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.setenv("LAB_RUNS", str(tmp_path / "runs"))
    st.cache_data.clear()
    st.cache_resource.clear()
    return RunStore(tmp_path / "runs")


def drawn(*run_ids: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "lab" / "Home.py"), default_timeout=600)
    app.switch_page("../pages/compare.py")
    app.query_params["runs"] = ",".join(run_ids)
    app.run()
    assert not app.exception
    return app


def links(app: AppTest) -> list[Any]:
    return [link.proto for link in app.get("page_link") if link.proto.query_string.startswith("run=")]


def figure_in(app: AppTest) -> dict[str, Any]:
    return figures_of(app)[0]


def ends(figure: dict[str, Any]) -> list[float]:
    lines = [line["y"] for line in figure["data"] if line.get("name")]
    return [float(np.frombuffer(base64.b64decode(y["bdata"]), dtype=y["dtype"])[-1]) for y in lines]


def curve(name: str, y: np.ndarray, color: str = "#123456") -> Curve:
    return Curve(name=name, ink=Ink(line=color, text="#000000"), x=np.arange(float(len(y))), y=y, smooth=True)


def test_six_long_runs_are_drawn_with_few_points_and_their_spikes() -> None:
    y = np.ones(100_000)
    y[77_777] = 5.0
    figure = overlay_figure([curve(str(place), y) for place in range(6)], title="Loss", x_total=len(y))
    assert all(len(line.x) <= POINTS for line in figure.data)
    assert sum(max(line.y) == 5.0 for line in figure.data) == 6


@pytest.mark.parametrize("log_y", [False, True])
def test_names_stand_apart_and_in_the_order_of_the_lines(log_y: bool) -> None:
    values = [0.5, 0.5001, 0.5002, 0.9, 0.1, 0.5003]
    curves = [curve(f"run {value}", np.array([2.0, value])) for value in values]
    notes = overlay_figure(curves, title="", x_total=1, log_y=log_y, height=460).layout.annotations
    places = [note.y for note in notes]
    assert min(np.diff(places)) >= LABEL_PX / 380 - 1e-9
    assert [note.text.split("run ")[1] for note in notes] == [str(value) for value in sorted(values)]
    assert max(places) <= 1


@pytest.mark.parametrize("y", [np.zeros(0), np.full(3, np.nan), np.zeros(3), -np.ones(3), np.array([5.0])])
@pytest.mark.parametrize("log_y", [False, True])
def test_odd_curves_make_a_chart(y: np.ndarray, log_y: bool) -> None:
    assert overlay_figure([curve("odd", y), curve("b", y)], title="", x_total=0, log_y=log_y).to_json()


def test_a_hostile_name_is_short_text() -> None:
    figure = overlay_figure([curve("<a href='x'>" + "n" * 500, np.ones(3))], title="", x_total=3)
    text = figure.layout.annotations[0].text
    assert "<a" not in text
    assert len(text) < 100


def test_the_losses_come_first_and_axes_are_no_metrics() -> None:
    column = np.ones(3)
    found = {
        "step": column,
        "images_seen": column,
        "elapsed_s": column,
        "kl": column,
        "val_loss": column,
        "loss": column,
        "dead": np.full(3, np.nan),
    }
    assert metrics_of([found]) == ["loss", "val_loss", "kl"]


def test_each_run_has_a_colour_and_a_line_below(store: RunStore) -> None:
    made = [make_run(store, name=f"Run {place}", step=100 - place) for place in range(6)]
    app = drawn(*(run.id for run in made))
    figure = figure_in(app)
    assert [line["line"]["color"] for line in figure["data"] if line.get("name")] == list(categories("light"))
    assert [link.query_string for link in links(app)] == [f"run={run.id}" for run in made]
    assert sum("lowest" in caption.value for caption in app.caption) == 6


def test_more_than_eight_and_doubled_runs_are_left_out(store: RunStore) -> None:
    made = [make_run(store) for _ in range(9)]
    app = drawn(made[0].id, *(run.id for run in made))
    assert len(links(app)) == 8


def test_runs_of_the_same_name_are_told_apart(store: RunStore) -> None:
    first, second = make_run(store, name="Same"), make_run(store, name="Same")
    texts = [note["text"] for note in figure_in(drawn(first.id, second.id))["layout"]["annotations"]]
    assert {text.rpartition(", ")[2] for text in texts} == {first.id[-4:], second.id[-4:]}


def test_a_run_that_is_gone_is_named_and_the_others_are_drawn(store: RunStore) -> None:
    there = make_run(store)
    app = drawn("20260101-000000-vae-gone", there.id)
    assert "does not exist" in app.warning[0].value
    assert len(links(app)) == 1


def test_nothing_but_missing_runs_makes_no_chart(store: RunStore) -> None:
    make_run(store)
    assert not figures_of(drawn("nobody", "../.."))


def test_another_metric_is_one_choice_away(store: RunStore) -> None:
    runs = [make_run(store), make_run(store)]
    app = drawn(*(run.id for run in runs))
    before = ends(figure_in(app))
    app.selectbox[0].select("learning_rate").run()
    assert figure_in(app)["layout"]["title"]["text"] == "Learning rate"
    assert ends(figure_in(app)) != before


def test_a_run_that_lacks_the_metric_says_so(store: RunStore) -> None:
    runs = [make_run(store), make_run(store, logged=0)]
    app = drawn(*(run.id for run in runs))
    assert len(ends(figure_in(app))) == 1
    assert any("no training loss" in caption.value for caption in app.caption)


def test_runs_without_a_line_yet_say_so(store: RunStore) -> None:
    live = [make_run(store, state=RunState.RUNNING, logged=0) for _ in range(2)]
    app = drawn(*(run.id for run in live))
    assert any("first logged steps" in caption.value for caption in app.caption)
