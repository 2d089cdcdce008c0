"""TensorBoard gets what metrics.jsonl gets; a tracker's trouble never stops a training."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import NonFiniteError, UsageError
from core.runs.metrics import read_metrics
from core.runs.run import RunState
from core.training import trackers


@pytest.mark.slow
def test_tensorboard_gets_every_logged_line(lab, tiny):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = lab.create("vae", tiny(**{"logging.trackers": ["tensorboard"], "train_vae.steps": 10}))
    assert lab.train(run).state is RunState.FINISHED
    folders = {path.parent for path in run.folder.glob("trackers/**/events.out.tfevents.*")}
    found = {}
    for folder in folders:
        reader = events.EventAccumulator(str(folder))
        reader.Reload()
        found |= {tag: reader.Scalars(tag) for tag in reader.Tags()["scalars"]}
    logged = read_metrics(run.metrics_path)
    assert [event.step for event in found["loss"]] == logged["step"].astype(int).tolist()
    np.testing.assert_allclose([event.value for event in found["loss"]], logged["loss"], rtol=1e-6)
    assert {"learning_rate", "grad_norm", "val_loss"} <= found.keys()


def test_a_tracker_that_is_not_installed_is_refused_with_what_to_do(monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"logging.trackers: 'wandb' is not installed; pip install wandb"):
        trackers.check_trackers(["wandb"])


@pytest.mark.slow
def test_a_tracker_that_fails_stops_nothing_and_is_told_once(lab, tiny, monkeypatch, caplog):
    pytest.importorskip("tensorboard")
    from accelerate.tracking import TensorBoardTracker

    def fail(*arguments, **named):
        raise OSError("the tracker's disk is full")

    monkeypatch.setattr(TensorBoardTracker, "log", fail)
    run = lab.create("vae", tiny(**{"logging.trackers": ["tensorboard"], "train_vae.steps": 10}))
    assert lab.train(run).state is RunState.FINISHED
    assert caplog.text.count("a tracker failed") == 1


def test_the_first_step_that_is_no_number_is_in_the_events_once(lab, tiny, monkeypatch):
    from core.training.vae_objective import VaeObjective

    forward = VaeObjective.forward

    def spoiled(self, *arguments, **named):
        losses = forward(self, *arguments, **named)
        return {**losses, "loss": losses["loss"] * float("nan")}

    monkeypatch.setattr(VaeObjective, "forward", spoiled)
    run = lab.create("vae", tiny())
    with pytest.raises(NonFiniteError):
        lab.train(run)
    diverging = [event for event in run.events() if event["event"] == "diverging"]
    assert [event["step"] for event in diverging] == [1]
