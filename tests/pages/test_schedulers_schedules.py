"""The view of schedules: numbers, refusals, one's own schedule; pictures from the digits that need no download."""

from __future__ import annotations

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.config.schema import DiffusionSettings
from core.runs.store import RunStore
from lab.widgets.strip import strip_html
from tests.pages.conftest import OpenPage
from tests.pages.run_folders import HOSTILE_NAMES, hostile, make_run, tiny_settings, write_checkpoint


def texts(app: AppTest) -> str:
    return " ".join(element.value for kind in ("markdown", "caption", "error", "warning") for element in app.get(kind))


def choose(app: AppTest, *names: str) -> AppTest:
    next(group for group in app.get("button_group") if group.key == "pick-schedules").set_value(list(names)).run()
    return app


def test_an_empty_lab_shows_cosine_against_linear_with_numbers(open_page: OpenPage) -> None:
    app = open_page("schedulers")
    assert not app.exception
    assert "**cosine** 49%, **linear** 8%" in texts(app)
    assert "only pixels are shown" in texts(app)
    assert "linear has lost the digit" in texts(app)


def test_other_schedules_have_their_own_numbers(open_page: OpenPage) -> None:
    app = choose(open_page("schedulers"), "flow", "sigmoid")
    assert not app.exception
    assert "**sigmoid**" in texts(app) and "**flow** 50%" in texts(app)
    assert "linear has lost" not in texts(app)


def test_nothing_chosen_is_said(open_page: OpenPage) -> None:
    app = choose(open_page("schedulers"))
    assert not app.exception
    assert "Choose at least one schedule" in texts(app)


def test_an_impossible_schedule_of_ones_own_is_one_sentence(open_page: OpenPage) -> None:
    app = choose(open_page("schedulers"), "linear", "own")
    app.number_input(key="own-b0").set_value(0.5).run()
    assert not app.exception
    assert any("is above" in error.value for error in app.error)
    assert "**linear** 8%" in texts(app)


def test_zero_terminal_snr_of_ones_own_leaves_nothing(open_page: OpenPage) -> None:
    app = choose(open_page("schedulers", **{"rug-open": "true"}), "own")
    app.toggle(key="own-zero").set_value(True).run()
    assert not app.exception
    assert "0.00% left at T" in texts(app)
    assert "does not support zero terminal SNR" in texts(app)


def test_a_quantity_that_flow_does_not_have_is_said(open_page: OpenPage) -> None:
    app = choose(open_page("schedulers"), "flow", "linear")
    app.selectbox(key="quantity").set_value("posterior_variance").run()
    assert not app.exception
    assert "Not defined for flow" in texts(app)


def test_a_run_whose_vae_cannot_be_read_shows_pixels_and_says_so(store: RunStore, open_page: OpenPage) -> None:
    write_checkpoint(make_run(store, name="No copy"), 100)
    app = open_page("schedulers")
    assert not app.exception
    assert "its copy of the VAE cannot be read" in texts(app)


def test_names_that_act_as_markdown_do_nothing(store: RunStore, open_page: OpenPage) -> None:
    for name in HOSTILE_NAMES:
        write_checkpoint(make_run(store, name=name, owner=name), 100)
    hostile(store)
    app = open_page("schedulers")
    assert not app.exception
    assert "<img" not in texts(app) and "![pixel]" not in texts(app)


@pytest.mark.parametrize(
    "query",
    [
        {"schedules": "own,own,cosine,cosine"},
        {"schedules": "own", "own-t": "1e999"},
        {"schedules": "own", "own-t": "nan", "own-b0": "-inf", "own-b1": "abc"},
        {"schedules": "own", "own-t": "10000", "own-b0": "0.999", "own-b1": "0.999"},  # no signal left long before T
        {"schedules": "own", "own-t": "10", "own-form": "cosine", "own-zero": "true"},
    ],
)
def test_a_wild_link_shows_what_can_be_shown(open_page: OpenPage, query: dict[str, str]) -> None:
    app = open_page("schedulers", **query)
    assert not app.exception and not app.error
    assert "Half-way through" in texts(app)
    assert app.query_params["schedules"] == ",".join(dict.fromkeys(query["schedules"].split(",")))


def test_a_run_that_cannot_be_shown_is_named(store: RunStore, open_page: OpenPage) -> None:
    write_checkpoint(make_run(store, name="Only one"), 100)
    app = open_page("schedulers", run="gone")
    assert not app.exception
    assert "Run gone has no latents" in texts(app)


def test_two_runs_of_one_name_keep_their_own_schedules(store: RunStore, open_page: OpenPage) -> None:
    runs = []
    for schedule, prediction in (("linear", "v_prediction"), ("cosine", "v_prediction")):
        diffusion = DiffusionSettings.model_validate({"schedule": schedule, "prediction_type": prediction})
        runs.append(make_run(store, name="twin", settings=tiny_settings().model_copy(update={"diffusion": diffusion})))
        write_checkpoint(runs[-1], 100)
    app = open_page("schedulers", schedules=",".join(run.id for run in runs))
    assert not app.exception
    assert f"of run twin ({runs[0].id[-4:]})** 8%" in texts(app).replace("\\", "")
    assert f"of run twin ({runs[1].id[-4:]})** 49%" in texts(app).replace("\\", "")


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_the_strip_holds_no_html_of_others(name: str) -> None:
    assert "<img src=http" not in strip_html([], [], name)
    assert "<img src=http" not in strip_html([(name, np.zeros((1, 2, 2, 1), dtype=np.uint8))], ["<b>"])
    assert "<b>" not in strip_html([], ["<b>"])


def test_the_link_names_runs_by_id_and_is_obeyed(store: RunStore, open_page: OpenPage) -> None:
    run = make_run(store, name="Mine, a title")
    write_checkpoint(run, 100)
    write_checkpoint(make_run(store, name="Newer"), 100)
    app = open_page("schedulers", run=run.id, schedules=f"cosine,{run.id}")
    assert not app.exception
    assert "of run Mine, a title" in texts(app)
    assert (app.query_params["run"], app.query_params["schedules"]) == (run.id, f"cosine,{run.id}")
