"""A judge travels in a model folder and judges as it did at home; a damaged or foreign one is one sentence."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.__main__ import main
from core.data.arrays import ImageSet, prepare
from core.evaluation.folder_judge import judge_of_model_folder
from core.evaluation.judge import Judge, load_kept
from core.home import code_root
from core.model_folders.export import export_run
from core.model_folders.model_card import model_card
from core.model_folders.model_facts import DEMO, model_folder_info
from core.model_folders.model_files import ModelRefused
from core.model_folders.model_folder import load_model_folder
from core.runs.run import Run
from core.sampling.request import request_of
from core.sampling.steps import sample
from tests.models import brief_judges

pytestmark = pytest.mark.slow

WEIGHTS, FACTS = "lab/judge/model.safetensors", "lab/judge/judge.json"


@pytest.fixture(scope="module")
def exported(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By the command, which trains the judge of scikit-learn's digits."""
    folder, root = tmp_path_factory.mktemp("judged") / "digits", trained.folder.parents[1]
    with brief_judges(min_steps=1), pytest.MonkeyPatch.context() as patch:
        for name in ("runs", "data", "cache"):
            patch.setenv(f"LAB_{name.upper()}", str(root / name))
        assert main(["export", trained.id, str(folder), "--with-judge"]) == 0
    return folder


@pytest.fixture(scope="module")
def home(trained: Run, exported: Path) -> tuple[ImageSet, Judge]:
    """The dataset and the judge in its cache."""
    root = trained.folder.parents[1]
    image_set = prepare(trained.settings.data, data_dir=root / "data", cache_dir=root / "cache")
    epochs = trained.settings.evaluation.judge_epochs
    judge = load_kept(image_set, cache_dir=root / "cache", epochs=epochs, device="cpu")
    assert judge is not None
    return image_set, judge


def test_it_judges_as_it_did_at_home(exported: Path, home: tuple[ImageSet, Judge]) -> None:
    image_set, judge = home
    found = judge_of_model_folder(exported)
    assert found is not None
    assert (found.hash, found.accuracy, found.classes) == (judge.hash, judge.accuracy, image_set.class_names)
    pictures = image_set.heldout.images[:50]
    assert np.array_equal(found.classify(pictures), judge.classify(pictures))
    assert (found.classify(pictures).argmax(axis=1) == image_set.heldout.labels[:50]).mean() > 0.8


def test_the_card_names_it_and_says_when_another_one_measured(exported: Path) -> None:
    facts, settings = json.loads((exported / "lab.json").read_text()), model_folder_info(exported).settings()
    digest = facts["files"][WEIGHTS]["sha256"]
    assert f"(`{digest[:12]}`): class probabilities" in (exported / "README.md").read_text()
    demo = model_folder_info(code_root() / DEMO).facts.report
    assert demo is not None
    said = model_card({**facts, "report": {**demo, "judge_hash": "0" * 64}}, settings, scheduler="x")
    assert "not the one that measured" in said
    assert "not the one" not in model_card({**facts, "report": {**demo, "judge_hash": digest}}, settings, scheduler="x")


def test_the_bundled_demo_brings_the_judge_that_measured_it() -> None:
    folder = code_root() / DEMO
    judge, report = judge_of_model_folder(folder), model_folder_info(folder).facts.report
    model = load_model_folder(folder, device="cpu")
    assert judge is not None and report is not None and report["judge_hash"] == judge.hash
    labels = tuple(range(10))
    pictures = sample(model, request_of(model.settings.sampling, labels, noise_rule=model.noise_rule))
    assert (judge.classify(pictures).argmax(axis=1) == labels).sum() >= 9


def test_a_folder_without_one_has_none(trained: Run, tmp_path: Path) -> None:
    assert judge_of_model_folder(export_run(trained, tmp_path / "plain")) is None


def edited_facts(**changes: object) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        facts = json.loads((folder / FACTS).read_text())
        (folder / FACTS).write_text(json.dumps({**facts, **changes}))

    return edit


def edited_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)
        edited_facts(sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest())(folder)

    return edit


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "another dataset": (edited_facts(fingerprint="f" * 64), "another dataset"),
    "other classes": (edited_facts(num_classes=3), "another dataset"),
    "no accuracy": (edited_facts(accuracy="high"), "accuracy"),
    "another version": (edited_facts(architecture_version=2), "another version"),
    "other weights": (edited_facts(sha256="0" * 64), "is not the judge"),
    "NaN": (edited_weights(lambda t: t["head.weight"].fill_(float("nan"))), "NaN or infinite"),
    "wrong shape": (edited_weights(lambda t: t.update({"head.bias": torch.zeros(3)})), "has shape"),
    "no JSON": (lambda folder: (folder / FACTS).write_text("[" * 99), "judge.json"),
    "missing": (lambda folder: (folder / WEIGHTS).unlink(), "is missing"),
    "a link": (lambda f: ((f / WEIGHTS).unlink(), (f / WEIGHTS).symlink_to("/etc/passwd")), "is missing or cannot"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_judge_is_one_sentence(exported: Path, tmp_path: Path, case: str) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    spoil, sentence = HOSTILE[case]
    spoil(folder)
    lab = json.loads((folder / "lab.json").read_text())
    for name in (WEIGHTS, FACTS):  # hashes that fit, as somebody who means harm would write them
        if (folder / name).exists() and not (folder / name).is_symlink():
            lab["files"][name]["sha256"] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "lab.json").write_text(json.dumps(lab))
    with pytest.raises(ModelRefused, match=sentence) as refused:
        judge_of_model_folder(folder)
    assert "\n" not in str(refused.value) and str(refused.value).isprintable()


def test_an_altered_judge_is_refused(exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1] + b"\x01")
    with pytest.raises(ModelRefused, match="was altered"):
        judge_of_model_folder(folder)
    with pytest.raises(ModelRefused, match="was altered"):
        load_model_folder(folder)
