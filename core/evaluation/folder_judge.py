"""The judge of a dataset inside a model folder, so that class probabilities work where the pictures are not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from core.data.arrays import prepare
from core.device import resolve_device
from core.errors import UsageError, quoted
from core.evaluation.judge import Judge, JudgeNetwork, OnProgress, judge_files, load_or_train, opened_judge
from core.evaluation.judge_facts import WEIGHTS_FILE, judge_in_folder
from core.model_folders.model_facts import JUDGE_FOLDER, model_folder_info
from core.model_folders.model_folder import check_tensors, read_tensors
from core.models.shapes import only_shapes
from core.runs.facts import fingerprint_of
from core.runs.run import Run


def judge_for_export(
    run: Run, *, data_dir: Path, cache_dir: Path, progress: OnProgress | None = None
) -> dict[str, bytes]:
    """The files of the judge that evaluations of this run use, trained first when there is none yet.

    Raises DataUnavailable without the dataset, UsageError when it is not the one that the run learned from.
    """
    image_set = prepare(run.settings.data, data_dir=data_dir, cache_dir=cache_dir, rules=run.rules)
    if image_set.fingerprint != fingerprint_of(run):
        raise UsageError(
            f"{run.id}: the dataset '{quoted(image_set.name)}' is not what it learned from any more",
            "leave out --with-judge",
        )
    judge = load_or_train(
        image_set,
        cache_dir=cache_dir,
        epochs=run.settings.evaluation.judge_epochs,
        device=run.settings.machine.device,
        progress=progress,
    )
    return judge_files(judge, image_set)


def judge_of_model_folder(folder: Path, *, device: str = "cpu") -> Judge | None:
    """The judge that lies in `lab/judge` of a model folder made by export; None when the folder has none.

    Its `classes` are the folder's class names, its pictures have the folder's channels and size. Raises ModelRefused,
    in one sentence, for a judge that was altered, is of another dataset, or does not fit the model's pictures.
    """
    info = model_folder_info(folder)
    found = judge_in_folder(info)
    if found is None:
        return None
    facts, weights = found
    name = f"{JUDGE_FOLDER}/{WEIGHTS_FILE}"
    with only_shapes():
        network = JudgeNetwork(
            channels=info.facts.channels, image_size=info.settings().data.image_size, num_classes=facts.num_classes
        )
    expected: Mapping[str, torch.Tensor] = network.state_dict()
    check_tensors(weights, name, expected)
    tensors = read_tensors(weights, name)
    state = {key: tensors[key].to(value.dtype) for key, value in expected.items()}
    network.load_state_dict(state, assign=True)
    return opened_judge(network.requires_grad_(False), facts, info.class_names, resolve_device(device), None)
