from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.config.schema import DataSettings
from core.data.arrays import ImageSet, Split, prepare
from core.evaluation.judge import Judge, split_features, train_judge
from core.evaluation.judge_facts import JudgeRecipe
from tests.models import made_once


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Real pictures and a briefly trained judge of them; `unseen` are for the planted faults, not for the floor."""

    image_set: ImageSet
    judge: Judge
    unseen: Split


def mnist_folder() -> Path | None:
    folder = Path(os.environ.get("LAB_DATA", "")) if os.environ.get("LAB_DATA") else None
    return folder if folder and (folder / "MNIST" / "raw").is_dir() else None


def part_of(split: Split, indices: np.ndarray) -> Split:
    return Split(images=np.array(split.images[indices]), labels=split.labels[indices])


def toy_set(*, count: int = 60, size: int = 8, channels: int = 1, classes: int = 3, seed: int = 0) -> ImageSet:
    """Noise with one bright row a class: small, and easy to tell apart."""
    source = np.random.default_rng(seed)
    splits = []
    for number in (count, count // 2):
        labels = np.arange(number) % classes
        images = source.integers(0, 60, (number, size, size, channels), dtype=np.uint8)
        images[np.arange(number), labels * (size // classes) + 1] = 250
        splits.append(Split(images=images, labels=labels.astype(np.int64)))
    return ImageSet(
        name="toy",
        title="Toy",
        train=splits[0],
        heldout=splits[1],
        class_names=tuple(f"row {label}" for label in range(classes)),
        fingerprint=f"{seed:08x}" * 8,
    )


@pytest.fixture(scope="session")
def judged(session_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Real MNIST where LAB_DATA has it, scikit-learn's digits otherwise."""
    torch.set_num_threads(1)
    mnist = mnist_folder()
    if mnist:
        settings = DataSettings(name="mnist", train_limit=6000, download=False)
    else:
        settings = DataSettings(name="digits", holdout_fraction=0.4)

    def parts(cache: Path) -> tuple[ImageSet, Split]:
        whole = prepare(settings, data_dir=mnist or cache, cache_dir=cache)
        order = np.random.default_rng(0).permutation(len(whole.heldout.labels))[:2000]
        half = len(order) // 2
        image_set = replace(whole, heldout=part_of(whole.heldout, order[half:]))
        return image_set, part_of(whole.heldout, order[:half])

    def make(folder: Path) -> None:
        image_set, _ = parts(folder)
        judge = train_judge(image_set, JudgeRecipe(seed=0, epochs=1, min_steps=100), device=torch.device("cpu"))
        torch.save(judge, folder / "judge.pt")
        split_features(replace(judge, folder=folder), image_set, "train")

    shared = made_once(session_folder / "judged", make)
    folder = Path(shutil.copytree(shared, tmp_path_factory.mktemp("evaluation") / "judged"))
    image_set, unseen = parts(folder)
    judge = torch.load(folder / "judge.pt", weights_only=False)
    return Judged(image_set=image_set, judge=replace(judge, folder=folder), unseen=unseen)
