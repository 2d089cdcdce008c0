"""A branch goes on from a checkpoint of another run, with settings that may differ, and owns all it needs."""

from __future__ import annotations

import pytest

from core.config.load import settings_from, with_overrides
from core.errors import CheckpointError, UsageError
from core.runs.branch import create_branch
from core.runs.listing import list_checkpoints
from core.runs.metrics import read_metrics
from core.runs.run import RunState


def changed(run, **overrides):
    names = {name.replace("__", "."): value for name, value in overrides.items()}
    return settings_from(with_overrides(run.settings.model_dump(mode="json"), names))


@pytest.fixture
def origin(lab, tiny):
    run = lab.create("vae", tiny())
    lab.train(run)
    return run


def test_a_branch_trains_on_from_the_checkpoint(lab, origin):
    step = list_checkpoints(origin)[0].step
    branch = create_branch(lab.store, origin, step, changed(origin, train_vae__learning_rate=1e-4), owner="ben")
    assert (branch.info.branched_from, branch.info.branched_step) == (origin.id, step)
    assert branch.status().step == step
    outcome = lab.train(branch)
    assert outcome.state is RunState.FINISHED
    assert read_metrics(branch.metrics_path)["step"].min() > step


def test_a_branch_with_the_same_settings_ends_as_its_origin_did(lab, origin):
    step = list_checkpoints(origin)[0].step
    branch = create_branch(lab.store, origin, step, origin.settings, owner="ben")
    lab.train(branch)
    name = "vae/diffusion_pytorch_model.safetensors"
    ends = [list_checkpoints(run)[-1].path / name for run in (origin, branch)]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_a_branch_does_not_need_its_origin(lab, origin):
    step = list_checkpoints(origin)[0].step
    branch = create_branch(lab.store, origin, step, origin.settings, owner="ben")
    lab.store.delete(origin.id, is_active=lambda run: False)
    assert lab.train(branch).state is RunState.FINISHED


@pytest.mark.parametrize(
    ("step", "overrides", "error", "words"),
    [
        (7, {}, CheckpointError, "no checkpoint of step 7"),
        (None, {"vae__latent_channels": 8}, UsageError, "vae.latent_channels"),
        (None, {"data__image_size": 32}, UsageError, "data.image_size"),
        (None, {"train_vae__steps": 2}, UsageError, "train_vae.steps"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_created(lab, origin, step, overrides, error, words):
    step = step or list_checkpoints(origin)[-1].step
    settings = changed(origin, train_vae__steps=100) if not overrides else changed(origin, **overrides)
    with pytest.raises(error, match=words):
        create_branch(lab.store, origin, step, settings, owner="ben")
    assert [run.id for run in lab.store.list()] == [origin.id]


def test_a_damaged_checkpoint_is_no_beginning(lab, origin):
    found = list_checkpoints(origin)[-1]
    path = found.path / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="altered"):
        create_branch(lab.store, origin, found.step, changed(origin, train_vae__steps=100), owner="ben")
