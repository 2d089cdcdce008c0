"""The judge of a data set inside a model folder, so that class probabilities work where the pictures are not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError

from core import reading
from core.config.schema import Section
from core.data.arrays import prepare
from core.device import resolve_device
from core.errors import UsageError, quoted
from core.evaluation.judge import (
    ARCHITECTURE_VERSION,
    FACTS_FILE,
    WEIGHTS_FILE,
    Judge,
    JudgeNetwork,
    OnProgress,
    judge_files,
    load_or_train,
)
from core.model_folders.model_facts import JUDGE_FOLDER, ModelFolderInfo, model_folder_info
from core.model_folders.model_files import ModelRefused, read_file
from core.model_folders.model_folder import check_tensors, read_tensors
from core.runs.run import Run

MIN_SIDE = 8


class JudgeFacts(Section):
    """judge.json, as `core.evaluation.judge` writes it. accuracy: 0 to 1, over `heldout_count` held-out pictures."""

    data_set: str = Field(max_length=500)
    fingerprint: str = Field(max_length=500)
    accuracy: float = Field(ge=0, le=1)
    heldout_count: int = Field(ge=0)
    train_count: int = Field(ge=0)
    num_classes: int = Field(ge=1, le=1000)
    seed: int
    epochs: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    architecture_version: int
    recipe: dict[str, Any]


def judge_for_export(
    run: Run, *, data_dir: Path, cache_dir: Path, progress: OnProgress | None = None
) -> dict[str, bytes]:
    """The files of the judge that evaluations of this run use, trained first when there is none yet.

    Raises DataUnavailable without the data set, UsageError when it is not the one that the run learned from.
    """
    from core.evaluation.evaluate import JUDGE_SEED  # with all measures, which looking at pictures does not need

    image_set = prepare(run.settings.data, data_dir=data_dir, cache_dir=cache_dir, rules=run.rules)
    if image_set.fingerprint != reading.read_object(run.data_path).get("fingerprint"):
        raise UsageError(
            f"{run.id}: the data set '{quoted(image_set.name)}' is not what it learned from any more",
            "leave out --with-judge",
        )
    judge = load_or_train(
        image_set,
        cache_dir=cache_dir,
        epochs=run.settings.evaluation.judge_epochs,
        seed=JUDGE_SEED,
        device=run.settings.machine.device,
        progress=progress,
    )
    return judge_files(judge, image_set)


def judge_of_model_folder(folder: Path, *, device: str = "cpu") -> Judge | None:
    """The judge that lies in `lab/judge` of a model folder made by export; None when the folder has none.

    Its `classes` are the folder's class names, its pictures have the folder's channels and size. Raises ModelRefused,
    in one sentence, for a judge that was altered, is of another data set, or does not fit the model's pictures.
    """
    info = model_folder_info(folder)
    if not info.has_judge:
        return None
    files = {name: _read(info, f"{JUDGE_FOLDER}/{name}") for name in (FACTS_FILE, WEIGHTS_FILE)}
    facts = _facts_of(files[FACTS_FILE], info)
    network = _network_of(files[WEIGHTS_FILE], facts, info)
    target = resolve_device(device)
    return Judge(
        network=network.to(target, memory_format=torch.channels_last).eval(),  # type: ignore[call-overload]
        classes=info.class_names,
        accuracy=facts.accuracy,
        heldout_count=facts.heldout_count,
        hash=facts.sha256,
        seed=facts.seed,
        epochs=facts.epochs,
        device=target,
        folder=None,
    )


def _read(info: ModelFolderInfo, name: str) -> bytes:
    """A file whose sha256 is the one in lab.json."""
    fact = info.facts.files.get(name)
    try:
        if fact is None or (info.path / name).parent.resolve() != info.path.resolve() / JUDGE_FOLDER:
            raise FileNotFoundError
        data = read_file(info.path / name, name)
    except OSError:
        raise ModelRefused(
            f"{info.name}: {name}: is missing or cannot be read", "give the whole folder, as it was exported"
        ) from None
    if hashlib.sha256(data).hexdigest() != fact.sha256:
        raise ModelRefused(f"{info.name}: {name}: was altered after the export", "fetch the folder again")
    return data


def _facts_of(data: bytes, info: ModelFolderInfo) -> JudgeFacts:
    where = f"{info.name}: {JUDGE_FOLDER}/{FACTS_FILE}"
    try:
        facts = JudgeFacts.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ModelRefused(f"{where}: {quoted(place)}: {quoted(first['msg'], 160)}") from None
    if facts.architecture_version != ARCHITECTURE_VERSION:
        raise ModelRefused(f"{where}: is a judge of another version of this lab", "export the model again")
    if (facts.fingerprint, facts.num_classes) != (info.facts.fingerprint, len(info.class_names)):
        raise ModelRefused(f"{where}: is of another data set than the model", "export the model again")
    return facts


def _network_of(weights: bytes, facts: JudgeFacts, info: ModelFolderInfo) -> JudgeNetwork:
    name = f"{JUDGE_FOLDER}/{WEIGHTS_FILE}"
    side = info.settings().data.image_size
    if hashlib.sha256(weights).hexdigest() != facts.sha256:
        raise ModelRefused(f"{info.name}: {name}: is not the judge that {FACTS_FILE} describes")
    if side % MIN_SIDE:
        raise ModelRefused(f"{info.name}: {name}: a judge looks at sides that are multiples of {MIN_SIDE}, not {side}")
    with torch.device("meta"):
        network = JudgeNetwork(channels=info.facts.channels, image_size=side, num_classes=facts.num_classes)
    expected: Mapping[str, torch.Tensor] = network.state_dict()
    check_tensors(weights, name, expected)
    found = read_tensors(weights, name)
    state = {key: found[key].to(value.dtype) for key, value in expected.items()}
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False)
