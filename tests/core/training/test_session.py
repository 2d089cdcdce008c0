"""A run from start to end: what it leaves behind, and what failure leaves behind."""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from core import atomic
from core.config.schema import Settings
from core.data.splits import limited_indices
from core.errors import CheckpointError, DataUnavailable, NonFiniteError, StorageFull
from core.runs.checkpoints import load_newest
from core.runs.run import Run, RunState
from core.training.session import Share, merged, preview_steps
from core.training.vae_objective import VaeObjective
from tests.models import Lab


def test_a_finished_run_holds_everything_the_design_says(trained: Run) -> None:
    status = trained.status()
    assert (status.state, status.step, status.steps_total) == (RunState.RUNNING, 30, 30)  # the worker says finished
    checkpoint = load_newest(trained.checkpoints_dir)
    assert checkpoint is not None and checkpoint.step == 30
    assert {name.split("/")[0] for name in checkpoint.files} == {
        "unet",
        "unet_ema",
        "optimizer.safetensors",
        "state.json",
    }
    assert len(list(trained.checkpoints_dir.iterdir())) == trained.settings.logging.keep_checkpoints
    assert {path.name for path in trained.vae_dir.iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
        "codec.json",
    }
    lines = [json.loads(line) for line in trained.metrics_path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 8, 10, 15, 16, 20, 24, 25, 30]
    assert {"step", "images_seen", "elapsed_s", "loss", "learning_rate", "grad_norm"} <= set(lines[0])
    assert [line["step"] for line in lines if "val_loss" in line] == [20, 30]
    assert json.loads(trained.data_path.read_text())["class_names"] == list("0123456789")


def test_previews_hold_the_path_for_the_film(trained: Run) -> None:
    names = sorted(path.name for path in trained.previews_dir.iterdir())
    assert names == ["step-00000000.npz", "step-00000001.npz", "step-00000030.npz"]
    with np.load(trained.previews_dir / names[-1]) as file:
        assert file["images"].shape == (4, 16, 16, 1)
        assert file["noisy_images"].shape == file["predicted_images"].shape == (3, 4, 16, 16, 1)
        assert file["labels"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("images", [0, 1, 2, 7])
def test_shares_of_images_are_all_of_them_in_order(images: int) -> None:
    shares = [Share(rank=rank, count=3).of(images) for rank in range(3)]
    assert [place for share in shares for place in share] == list(range(images))
    parts = [{"images": np.array(share), "timesteps": np.arange(2)} for share in shares if share]
    if images:
        whole = merged([{}, *parts], {"images": 0})
        assert whole["images"].tolist() == list(range(images)) and whole["timesteps"].tolist() == [0, 1]


@pytest.mark.parametrize(("total", "count"), [(1400, 12), (30, 3), (1, 12), (100, 1), (100, 0)])
def test_previews_are_log_spaced_and_end_at_the_last_step(total: int, count: int) -> None:
    steps = preview_steps(total, count)
    assert len(steps) <= max(count, 0)
    assert steps == sorted(set(steps))
    assert not steps or steps[-1] == total


@pytest.mark.parametrize(("total", "second"), [(1700, 17), (60_000, 20), (30, 1)])
def test_previews_begin_where_something_can_be_seen(total: int, second: int) -> None:
    assert preview_steps(total, 12)[:2] == [0, second]


@pytest.mark.slow
def test_a_run_without_its_vae_run_still_trains_on_its_own_copy(
    lab: Lab, finished_vae: Run, tiny: Callable[..., Settings]
) -> None:
    vae, unet = finished_vae, lab.create("unet", tiny(), finished_vae)
    seen: list[int] = []
    lab.train(unet, lambda: len(seen) >= 9, lambda result: seen.append(result.step))
    lab.store.delete(vae.id, is_active=lambda run: False)
    assert lab.train(unet).step == 30  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_unet_on_some_of_the_images_encodes_these_alone(
    lab: Lab, finished_vae: Run, tiny: Callable[..., Settings]
) -> None:
    few = {"train_unet.steps": 3, "logging.num_previews": 0}
    for limit in (None, 100):
        lab.train(lab.create("unet", tiny(**few, **{"train_unet.image_limit": limit}), finished_vae))
    some, whole = sorted((np.load(path) for path in lab.root.glob("cache/latents/*/moments.npy")), key=len)
    places = limited_indices(np.arange(len(whole)), 100, 0)
    np.testing.assert_allclose(some, whole[places], atol=1e-5)


@pytest.mark.slow
def test_a_run_whose_loss_explodes_fails_with_the_reason_and_keeps_its_last_good_checkpoint(
    lab: Lab, tiny: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lab.create("vae", tiny())
    real, calls = VaeObjective.forward, [0]

    def poisoned(self: VaeObjective, images: torch.Tensor, noise: torch.Tensor) -> dict[str, torch.Tensor]:
        calls[0] += self.training
        losses = real(self, images, noise)
        return {**losses, "loss": losses["loss"] * (math.nan if self.training and calls[0] > 2 * 18 else 1.0)}

    monkeypatch.setattr(VaeObjective, "forward", poisoned)
    with pytest.raises(NonFiniteError, match="5 steps in a row, last at step 23"):
        lab.train(run)
    checkpoint = load_newest(run.checkpoints_dir)
    assert checkpoint is not None and checkpoint.step == 16
    tensors = checkpoint.tensors("vae/diffusion_pytorch_model.safetensors")
    assert all(torch.isfinite(value).all() for value in tensors.values())
    last = json.loads(run.metrics_path.read_text().splitlines()[-1])
    assert last["loss"] is None and "loss" in last["nonfinite"]


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_checkpoint_before_stands(
    lab: Lab, tiny: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lab.create("vae", tiny())
    real = atomic.write_folder

    def fills_up(target: object, files: dict[str, bytes]) -> None:
        if "step-00000016" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(target, files)  # type: ignore[arg-type]

    monkeypatch.setattr(atomic, "write_folder", fills_up)
    with pytest.raises(StorageFull, match="disk full at step 16") as caught:
        lab.train(run)
    assert "the checkpoint of step 8 stands" in str(caught.value)
    monkeypatch.undo()
    assert lab.train(run).step == 24  # type: ignore[attr-defined]


def test_a_data_set_that_changed_is_refused_at_resume(lab: Lab, tiny: Callable[..., Settings]) -> None:
    run = lab.create("vae", tiny())
    seen: list[int] = []
    lab.train(run, lambda: len(seen) >= 3, lambda result: seen.append(result.step))
    facts = json.loads(run.data_path.read_text())
    run.data_path.write_text(json.dumps({**facts, "fingerprint": "0" * 64}))
    with pytest.raises(DataUnavailable, match="has changed since this run began"):
        lab.train(run)


def test_a_checkpoint_of_another_network_is_refused(lab: Lab, finished_vae: Run, tiny: Callable[..., Settings]) -> None:
    small, large = finished_vae, lab.create("vae", tiny(**{"vae.block_out_channels": [8, 16]}))
    large.checkpoints_dir.mkdir()
    newest = load_newest(small.checkpoints_dir)
    assert newest is not None
    newest.folder.rename(large.checkpoints_dir / newest.folder.name)
    with pytest.raises(CheckpointError, match="does not fit this network"):
        lab.train(large)
