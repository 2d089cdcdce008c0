"""The images of an evaluation in the cache: whole or not at all, whoever damaged them or wrote the key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.data.npz_file import npz_bytes
from core.evaluation.drawn import FOLDER, Drawn, DrawnFolder, drawn_images, drawn_key
from core.sampling.request import SampleRequest

KEY = "0123456789abcdef" * 2


def part(*labels: int) -> Drawn:
    count = len(labels)
    return Drawn(
        pictures=np.full((count, 4, 4, 1), labels[0], np.uint8),
        labels=np.array(labels),
        guesses=np.zeros(count, np.int64),
        features=np.ones((count, 3), np.float32),
        seconds=0.5,
    )


@pytest.fixture
def folder(tmp_path: Path) -> DrawnFolder:
    found = DrawnFolder(tmp_path, KEY)
    found.keep(0, part(1, 2, 3))
    found.keep(3, part(4, 5))
    return found


def test_batches_are_joined_in_their_order(tmp_path: Path, folder: DrawnFolder) -> None:
    found = drawn_images(tmp_path, KEY, 5)
    assert found is not None
    assert found.labels.tolist() == [1, 2, 3, 4, 5]
    assert (found.pictures.shape, found.seconds) == ((5, 4, 4, 1), 1.0)
    assert drawn_images(tmp_path, KEY, 6) is None
    assert drawn_images(tmp_path, KEY, 4) is None, "the last batch reaches beyond"


def test_a_batch_of_other_labels_is_not_taken(folder: DrawnFolder) -> None:
    assert folder.part(0, np.array([1, 2, 3])) is not None
    for other in ([1, 2, 4], [1, 2], [1, 2, 3, 4]):
        assert folder.part(0, np.array(other)) is None


@pytest.mark.parametrize("key", ["", "..", f"../{FOLDER}/{KEY}", KEY.upper(), f"{KEY}0", KEY[:-1] + "/"])
def test_a_key_that_is_none_leads_nowhere(tmp_path: Path, folder: DrawnFolder, key: str) -> None:
    assert drawn_images(tmp_path, key, 5) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: npz_bytes({"labels": np.array([1, 2, 3])}),
        lambda data: npz_bytes({**vars(part(1, 2, 3)), "features": np.ones((2, 3), np.float32)}),
        lambda data: npz_bytes({**vars(part(1, 2, 3)), "pictures": np.ones((3, 4, 4, 1))}),
        lambda data: npz_bytes({**vars(part(1, 2, 3)), "guesses": np.zeros((3, 1), np.int64)}),
    ],
)
def test_a_damaged_batch_is_none(tmp_path: Path, folder: DrawnFolder, damage: Callable[[bytes], bytes]) -> None:
    (path,) = tmp_path.rglob("*-000000.npz")
    path.write_bytes(damage(path.read_bytes()))
    assert folder.part(0, np.array([1, 2, 3])) is None
    assert drawn_images(tmp_path, KEY, 5) is None


def test_everything_that_decides_an_image_is_in_the_key() -> None:
    request = SampleRequest(
        labels=(0, 1), sampler="unipc", num_inference_steps=4, guidance_scale=1.5, seed=0, noise_rule=1
    )
    weights = {"weights": "a", "judge": "b"}
    changes = (
        {"labels": (1, 0)},
        {"sampler": "ddim"},
        {"num_inference_steps": 5},
        {"guidance_scale": 1.6},
        {"guidance_rescale": 0.7},
        {"guidance_interval": (0.1, 1.0)},
        {"whole_timesteps": True},
        {"seed": 1},
        {"noise_rule": 2},
    )
    keys = {drawn_key(replace(request, **change), **weights) for change in ({}, *changes)}  # type: ignore[arg-type]
    keys |= {drawn_key(request, **{**weights, name: "c"}) for name in weights}
    assert len(keys) == len(changes) + 3
    assert drawn_key(replace(request, batch_size=3), **weights) in keys, "it decides no image"
