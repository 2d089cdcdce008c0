"""The finish line: what it times and what it judges, with a judge that was never trained and a tiny training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.finish_line import BUNDLED, BUNDLED_SHA256, Court, add_row, judged_npz, table
from benchmarks.timed_training import own_children, trained
from benchmarks.where_time_goes import phases_of_training
from core.errors import LabError
from core.evaluation.judge import Judge, JudgeNetwork
from core.evaluation.judge_facts import judge_in_folder
from core.home import code_root
from core.model_folders.model_facts import model_folder_info
from core.runs.run import RunState
from tests.core.evaluation.conftest import toy_set
from tests.models import TINY

BUSY = "import time\nwhile time.process_time() < 0.3: pass"
LEAVES_A_CHILD = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BUSY!r}])"


@pytest.fixture
def court() -> Court:
    images = toy_set()
    torch.manual_seed(0)
    network = JudgeNetwork(channels=1, image_size=8, num_classes=3).eval()
    judge = Judge(
        network=network,
        classes=images.class_names,
        accuracy=1.0,
        heldout_count=30,
        hash="0" * 64,
        seed=0,
        epochs=0,
        device=torch.device("cpu"),
        folder=None,
    )
    return Court(judge=judge, image_set=images, fit="resize", neighbours=3)


def saved(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "samples.npz"
    np.savez(path, **arrays)
    return path


def test_copies_of_training_images_are_seen_as_copies_and_unseen_real_ones_are_not(
    court: Court, tmp_path: Path
) -> None:
    train, heldout = court.image_set.train, court.image_set.heldout
    copies = judged_npz(court, saved(tmp_path, images=train.images[:30], labels=train.labels[:30]))
    unseen = judged_npz(court, saved(tmp_path, images=heldout.images[..., 0], labels=heldout.labels))
    assert copies["copy_ratio"] == pytest.approx(0.0, abs=1e-3)
    assert unseen["copy_ratio"] == pytest.approx(1.0)
    assert unseen["num_samples"] == 30 and unseen["is_balanced"]
    assert unseen["fd_judge"] == pytest.approx(unseen["fd_floor"])


def test_images_of_another_size_get_that_of_the_reference(court: Court) -> None:
    large = np.repeat(np.repeat(court.image_set.heldout.images, 2, axis=1), 2, axis=2)
    assert court.fitted(large).shape == court.image_set.heldout.images.shape


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros((4, 8, 8), np.uint8)}, "no array 'labels'"),
        ({"images": np.zeros((4, 8, 8)), "labels": np.zeros(4, int)}, "must be uint8"),
        ({"images": np.zeros((4, 8, 8), np.uint8), "labels": np.zeros(3, int)}, "4 images but 3 labels"),
        ({"images": np.zeros((4, 8, 8), np.uint8), "labels": np.full(4, 3)}, "'labels' must be 0 to"),
        ({"images": np.zeros((3, 8, 8), np.uint8), "labels": np.arange(3)}, "needs more than 3 images"),
    ],
)
def test_a_file_that_cannot_be_judged_costs_a_sentence(
    court: Court, tmp_path: Path, arrays: dict[str, np.ndarray], words: str
) -> None:
    with pytest.raises(LabError, match=words):
        judged_npz(court, saved(tmp_path, **arrays))


def test_a_file_that_is_no_archive_costs_a_sentence(court: Court, tmp_path: Path) -> None:
    (tmp_path / "samples.npz").write_text("no archive")
    with pytest.raises(LabError, match=r"samples\.npz: cannot be read"):
        judged_npz(court, tmp_path / "samples.npz")


def test_the_bundled_judge_is_the_one_that_the_rules_name() -> None:
    found = judge_in_folder(model_folder_info(code_root() / "models" / BUNDLED))
    assert found is not None and found[0].sha256 == BUNDLED_SHA256
    assert BUNDLED_SHA256 in (code_root() / "docs" / "finish-line.md").read_text()


def test_a_row_replaces_that_of_its_seed_and_another_judge_is_refused(court: Court, tmp_path: Path) -> None:
    row = {"entry": "quick", "num_samples": 10, "wall_s": 9.0, "class_accuracy": 0.5}
    path = tmp_path / "result.json"
    add_row(path, court, {**row, "seed": 0})
    add_row(path, court, {**row, "seed": 1, "class_accuracy": 0.9})
    result = add_row(path, court, {**row, "seed": 0, "wall_s": 7.0})
    assert [(each["seed"], each["wall_s"]) for each in result["rows"]] == [(1, 9.0), (0, 7.0)]
    cells = [line.split(" | ") for line in table(result["rows"])]
    assert (cells[2][2], cells[-1][2], cells[-1][4]) == ("8.0", "1", "0")  # mean time; slowest, least accurate seed
    other = Court(judge=court.judge, image_set=court.image_set, fit="pad", neighbours=3)
    with pytest.raises(LabError, match="was judged otherwise"):
        add_row(path, other, {**row, "seed": 0})


@pytest.mark.slow
def test_processes_that_outlive_their_parent_are_waited_for_and_counted() -> None:
    with own_children() as cpu_s:
        subprocess.run([sys.executable, "-c", LEAVES_A_CHILD], check=True)
    assert cpu_s() > 0.3


@pytest.mark.slow
def test_a_training_in_an_empty_lab_is_timed_from_the_command_to_its_end(tmp_path: Path) -> None:
    changes = [f"{name}={value}" for name, value in TINY.items() if name != "data.name"]
    run, row = trained("quick", 3, "digits", changes, tmp_path)
    assert run.status().state is RunState.FINISHED and run.settings.seed == 3
    assert (tmp_path / "cache" / "latents").is_dir()
    assert row["cpu_s"] > 0 < row["wall_s"] and row["other_cpu_s"] >= 0
    phases = phases_of_training(run, row)
    assert sum(phase.seconds for phase in phases) == pytest.approx(row["wall_s"], abs=0.2)
    parts = {phase.name for phase in phases if phase.run == "unet"}
    assert {"encoding", "networks", "steps", "validation", "previews", "checkpoints"} <= parts
