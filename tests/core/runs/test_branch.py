"""A branch goes on from a checkpoint of another run, with settings that may differ, and owns all it needs."""

from __future__ import annotations

import errno
import os

import pytest

from core.__main__ import main
from core.config.load import settings_from, with_overrides
from core.errors import CheckpointError, StorageFull, UsageError
from core.jobs.service import request_stop
from core.runs.branch import create_branch
from core.runs.listing import list_checkpoints
from core.runs.metrics import read_metrics
from core.runs.run import RunState
from core.runs.store import RunStore
from tests import forked
from tests.endings import nobody_serves


def changed(run, **overrides):
    names = {name.replace("__", "."): value for name, value in overrides.items()}
    return settings_from(with_overrides(run.settings.model_dump(mode="json"), names))


@pytest.fixture
def origin(finished_vae):
    return finished_vae


@pytest.mark.slow
def test_a_branch_trains_on_from_the_checkpoint(lab, origin):
    step = list_checkpoints(origin)[0].step
    branch = create_branch(lab.store, origin, step, changed(origin, train_vae__learning_rate=1e-4), owner="ben")
    assert (branch.info.branched_from, branch.info.branched_step) == (origin.id, step)
    assert branch.status().step == step
    outcome = lab.train(branch)
    assert outcome.state is RunState.FINISHED
    assert read_metrics(branch.metrics_path)["step"].min() > step


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("last", "options", "steps"),
    [
        (True, [], "half as many again"),
        (True, ["--steps", "30"], 30),
        (True, ["--set", "train_vae.steps=40"], 40),
        (False, [], "as planned"),
    ],
)
def test_the_command_branches_from_any_checkpoint_and_says_what_it_did(
    last, options, steps, lab, origin, monkeypatch, capsys
):
    planned, step = origin.settings.train_vae.steps, list_checkpoints(origin)[-1 if last else 0].step
    expected = {"half as many again": step + step // 2, "as planned": planned}.get(steps, steps)
    monkeypatch.setenv("LAB_RUNS", str(lab.store.root))
    with nobody_serves(lab.store):
        assert main(["branch", origin.id, "--checkpoint", str(step), "--detach", *options]) == 0
        said = capsys.readouterr()
        branch = lab.store.get(said.out.strip())
        request_stop(lab.store, branch.id)
    assert (branch.settings.train_vae.steps, branch.info.branched_step) == (expected, step)
    assert f"it trains from step {step:,} to step {expected:,}. The original run stays" in said.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--steps", "1"], "needs more than that"),
        (["--steps", "50", "--set", "train_vae.steps=40"], "--set train_vae.steps says 40"),
    ],
)
def test_steps_that_cannot_be_are_refused_and_nothing_is_created(options, words, lab, origin, monkeypatch, capsys):
    monkeypatch.setenv("LAB_RUNS", str(lab.store.root))
    step = list_checkpoints(origin)[-1].step
    with nobody_serves(lab.store):
        assert main(["branch", origin.id, "--checkpoint", str(step), "--detach", *options]) == 2
    assert words in capsys.readouterr().err
    assert [run.id for run in lab.store.list()] == [origin.id]


def test_a_damaged_checkpoint_is_no_beginning(lab, origin):
    found = list_checkpoints(origin)[-1]
    path = found.path / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="altered"):
        create_branch(lab.store, origin, found.step, changed(origin, train_vae__steps=100), owner="ben")


def test_a_branch_of_a_unet_owns_its_vae_and_its_data_facts(lab, trained, tmp_path):
    store = RunStore(tmp_path / "branches")
    step = list_checkpoints(trained)[0].step
    branch = create_branch(store, trained, step, changed(trained, train_unet__learning_rate=1e-5), owner="ben")
    for folder in ("vae", f"checkpoints/step-{step:08d}"):
        theirs, ours = (
            {
                path.relative_to(run.folder): path.read_bytes()
                for path in (run.folder / folder).rglob("*")
                if path.is_file()
            }
            for run in (trained, branch)
        )
        assert theirs == ours != {}
    assert branch.data_path.read_bytes() == trained.data_path.read_bytes()
    assert branch.info.parents == trained.info.parents
    assert not branch.metrics_path.exists()


def test_a_branch_that_does_not_fit_on_the_disk_leaves_nothing(lab, origin, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(lab.store.root.rglob("*"))
    step = list_checkpoints(origin)[0].step
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull):
        create_branch(lab.store, origin, step, origin.settings, owner="ben")
    assert sorted(lab.store.root.rglob("*")) == before


def test_a_branch_whose_making_is_killed_is_no_run(lab, origin, forks):
    step = list_checkpoints(origin)[0].step
    program = (
        "import os, pathlib\nfrom core.runs.branch import create_branch\nfrom core.runs.store import RunStore\n"
        f"store = RunStore(pathlib.Path({str(lab.store.root)!r}))\norigin = store.get({origin.id!r})\n"
        "os.rename = lambda *a, **k: os._exit(9)\n"
        f"create_branch(store, origin, {step}, origin.settings, owner='ben')\n"
    )
    assert forked.run("-c", program).returncode == 9
    assert [run.id for run in lab.store.list()] == [origin.id]
    assert lab.store.broken() == []
