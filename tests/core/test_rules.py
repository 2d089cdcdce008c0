"""Rules that decide numbers keep their versions in runs, recipes and links; an unknown one is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.config.schema import DataSettings, TrainSettings
from core.data.arrays import prepare
from core.data.splits import holdout_indices, limited_indices
from core.device import set_threads
from core.errors import LabError
from core.rules import NAMES, NEWEST, Rules, flaw, rules_of
from core.runs.provenance import package_versions
from core.sampling.noise import noise_sources
from core.sampling.request import SampleRequest
from core.training.loop import build_optimizer

REQUEST = SampleRequest(labels=(1,), sampler="ddim", num_inference_steps=2, guidance_scale=1.0, seed=0)
LABELS = np.array([0, 0, 1, 1])


def test_what_is_new_writes_the_newest_and_what_is_old_has_the_first() -> None:
    assert rules_of(package_versions()) == NEWEST
    assert rules_of({"torch": "2.11"}) == Rules(**dict.fromkeys(NAMES, 1))


@pytest.mark.parametrize(
    "versions", [{"rules.noise": "3"}, {"rules.noise": "0"}, {"rules.noise": "x"}, {"rules.new": "1"}]
)
def test_an_unknown_rule_is_one_sentence(versions: dict[str, str]) -> None:
    assert flaw(versions).startswith("made by a newer version of the lab: version ")
    with pytest.raises(LabError, match="update this lab"):
        rules_of(versions)


def arrays(**changes: int) -> Callable[[Path], object]:
    def make(folder: Path) -> object:
        data = DataSettings(name="digits", image_size=8)
        return prepare(data, data_dir=folder, cache_dir=folder, rules=replace(NEWEST, **changes))

    return make


@pytest.mark.parametrize(
    "apply",
    [
        lambda _: noise_sources(replace(REQUEST, noise_rule=3)),
        lambda _: holdout_indices(LABELS, 0.5, 0, rule=3),
        lambda _: limited_indices(LABELS, 2, 0, rule=3),
        lambda _: set_threads(1, rule=2),
        lambda _: build_optimizer(torch.nn.Linear(1, 1), TrainSettings(), rule=2),
        arrays(split=3),
        arrays(folders=4),
        arrays(bit_depth=3),
    ],
)
def test_whoever_implements_a_rule_refuses_a_version_that_it_does_not_know(
    apply: Callable[[Path], object], tmp_path: Path
) -> None:
    with pytest.raises(LabError, match=r"made by a newer version of the lab: version [2-4] of the rule"):
        apply(tmp_path)
