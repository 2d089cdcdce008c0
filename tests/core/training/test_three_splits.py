"""What a run learns, what it validates on, and what is held out for final figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.data.splits import validation_indices
from core.rules import NEWEST
from core.runs.checkpoints import load_newest
from core.runs.facts import data_facts
from core.runs.run import Run
from tests.models import Lab, tiny_settings

FEW = {"train_vae.steps": 6, "train_unet.steps": 6, "logging.log_every_steps": 1, "logging.validate_every_steps": 3}
EACH = 24  # images of a class
LABELS = np.repeat([0, 1], EACH)
UNLEARNED = validation_indices(LABELS, rule=2)


def trained(folder: Path, rule: int, *, validation: int = 0, heldout: int = 0) -> list[Run]:
    """A tiny VAE and U-Net on a set of our own. validation, heldout: gray levels by which those images are brighter."""
    lab = Lab(folder)
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 200, (2 * EACH, 16, 16)).astype(np.uint8)
    tests = np.random.default_rng(1).integers(0, 200, (8, 16, 16)).astype(np.uint8)
    images[UNLEARNED] += np.uint8(validation)
    path = folder / "set.npz"
    np.savez(path, images=images, labels=LABELS, test_images=tests + np.uint8(heldout), test_labels=np.arange(8) % 2)
    settings = tiny_settings(**FEW, **{"data.name": "npz", "data.path": str(path)})
    rules = replace(NEWEST, split=rule)
    vae = lab.create("vae", settings, rules=rules)
    lab.train(vae)
    unet = lab.create("unet", settings, vae, rules=rules)
    lab.train(unet)
    return [vae, unet]


def lines(run: Run, *, are_of_validation: bool) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    kept = [
        {key: value for key, value in line.items() if key.startswith("val_") == are_of_validation} for line in found
    ]
    return [{key: value for key, value in line.items() if not key.endswith("_s")} for line in kept if line]


def weights(run: Run) -> dict[str, bytes]:
    checkpoint = load_newest(run.checkpoints_dir)
    assert checkpoint is not None
    return {name: content for name, content in checkpoint.files.items() if name.endswith(".safetensors")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return trained(tmp_path_factory.mktemp("splits") / "plain", 2)


@pytest.mark.slow
@pytest.mark.parametrize(("brighter", "is_seen"), [("heldout", False), ("validation", True)])
def test_what_is_held_out_is_never_looked_at_and_validation_never_learned(
    plain: list[Run], brighter: str, is_seen: bool, tmp_path: Path
) -> None:
    for before, after in zip(plain, trained(tmp_path / "other", 2, **{brighter: 50}), strict=True):
        assert weights(before) == weights(after)
        assert lines(before, are_of_validation=False) == lines(after, are_of_validation=False)
        changed = lines(before, are_of_validation=True) != lines(after, are_of_validation=True)
        assert changed is is_seen


@pytest.mark.slow
def test_an_older_run_validates_on_what_is_held_out_and_learns_from_everything(tmp_path: Path) -> None:
    old, brighter = (trained(tmp_path / str(level), 1, heldout=level)[0] for level in (0, 50))
    assert weights(old) == weights(brighter)
    assert lines(old, are_of_validation=True) != lines(brighter, are_of_validation=True)
    assert data_facts(old).train_count == 2 * EACH


@pytest.mark.slow
def test_a_run_keeps_how_many_it_learned_from(plain: list[Run]) -> None:
    facts = data_facts(plain[1])
    assert (facts.train_count, facts.validation_count, facts.heldout_count) == (2 * EACH - 4, 4, 8)
