"""The view of the loss by timestep in an empty lab, with a run that cannot be loaded, and with a measurement."""

from __future__ import annotations

import pytest

import lab.components.timestep_loss as component
from core.evaluation.timestep_loss import TimestepLoss
from core.runs.store import RunStore
from tests.pages.conftest import OpenPage
from tests.pages.run_folders import HOSTILE_NAMES, make_run, write_checkpoint

VIEW = {"view": "Loss by timestep"}


def measured(run_id: str, step: int) -> TimestepLoss:
    points = {name: (0.1, 0.2, 0.4) for name in TimestepLoss.__dataclass_fields__ if name not in ("t", "log_snr")}
    plain = {"run_id": run_id, "step": step, "data_set": "digits", "fingerprint": "f", "schedule": "flow",
             "prediction_type": "flow", "num_pictures": 8, "num_train_timesteps": 1000, "t": (0, 500, 999),
             "log_snr": (5.0, 0.0, -50.0), "format_version": 1}  # fmt: skip
    return TimestepLoss(**{**points, **plain})  # type: ignore[arg-type]


def test_an_empty_lab_says_what_is_missing(open_page: OpenPage) -> None:
    app = open_page("schedulers", **VIEW)
    assert not app.exception
    assert any("No trained U-Net yet" in element.value for element in app.caption)


def test_a_run_that_cannot_be_loaded_is_one_sentence(store: RunStore, open_page: OpenPage) -> None:
    write_checkpoint(make_run(store), 100)
    app = open_page("schedulers", **VIEW)
    assert not app.exception
    assert len(app.warning) == 1
    assert not app.get("plotly_chart")


def test_two_runs_are_drawn_over_each_other(
    store: RunStore, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [make_run(store, name=name) for name in HOSTILE_NAMES[:2]]
    for run in runs:
        write_checkpoint(run, 100)
    monkeypatch.setattr(component, "loss_of", lambda run_id, step, show: measured(run_id, step))
    app = open_page("schedulers", run=runs[0].id, against=runs[1].id, **VIEW)
    assert not app.exception
    assert len(app.get("plotly_chart")) == 2
