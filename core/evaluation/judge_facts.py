"""What is known of a dataset's judge without opening it: its recipe, its place, its facts. Never imports PyTorch."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from core import reading
from core.config.schema import Section
from core.errors import LabError, quoted
from core.model_folders.model_facts import JUDGE_FOLDER, ModelFolderInfo
from core.model_folders.model_files import ModelRefused, read_file

ARCHITECTURE_VERSION, SECOND_ARCHITECTURE = 1, 2  # of the judge that every measure rests on, and of the second
JUDGE_SEED, SECOND_SEED = 0, 1
WEIGHTS_FILE = "model.safetensors"
FACTS_FILE = "judge.json"
MIN_SIDE = 8

log = logging.getLogger(__name__)


class Described(Protocol):
    """What a judge must know about its dataset; an ImageSet, or a model's facts where the images are not."""

    @property
    def fingerprint(self) -> str:
        """Names the dataset."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """K names."""

    @property
    def channels(self) -> int:
        """1 or 3."""

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""


@dataclass(frozen=True, kw_only=True)
class JudgeRecipe:
    """Everything that decides the weights besides the images; part of the judge's cache key."""

    seed: int
    epochs: int
    architecture: int = ARCHITECTURE_VERSION
    min_steps: int = 300
    batch_size: int = 256
    small_batch_size: int = 64
    small_set: int = 10_000
    learning_rate: float = 0.3
    warmup: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    max_shift: int = 2

    def written(self) -> dict[str, Any]:
        """As it stands in judge.json, which names the architecture beside it."""
        return {name: value for name, value in asdict(self).items() if name != "architecture"}

    def batch_for(self, count: int) -> int:
        """Images per step: small sets take small batches, so that few images still make many steps."""
        return min(self.batch_size if count >= self.small_set else self.small_batch_size, count)

    def steps_for(self, count: int) -> int:
        """Optimizer steps: `epochs` passes, and never fewer than `min_steps`."""
        return max(self.epochs * count // self.batch_for(count), self.min_steps)

    def learning_rate_at(self, step: int, steps: int) -> float:
        """Linear up over the first `warmup` of the steps, then linear down to zero (arXiv 1708.07120)."""
        position = step / steps
        return self.learning_rate * min(position / self.warmup, (1.0 - position) / (1.0 - self.warmup))


class JudgeFacts(Section):
    """judge.json. accuracy: 0 to 1, over `heldout_count` held-out images; sha256: of the weights file."""

    data_set: str = Field(max_length=500)
    fingerprint: str = Field(max_length=500)
    accuracy: float = Field(ge=0, le=1)
    heldout_count: int = Field(ge=0)
    train_count: int = Field(ge=0)
    num_classes: int = Field(ge=1)
    seed: int
    epochs: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    architecture_version: int
    recipe: dict[str, Any]


def judge_folder(cache_dir: Path, fingerprint: str, recipe: JudgeRecipe) -> Path:
    """Where the judge of that dataset is kept, whether it is there or not."""
    text = json.dumps({"architecture": recipe.architecture, **recipe.written()}, sort_keys=True)
    return cache_dir / "judges" / f"{fingerprint[:12]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def kept_judge(cache_dir: Path, image_set: Described, recipe: JudgeRecipe) -> tuple[JudgeFacts, bytes] | None:
    """Facts and weights of the judge in the cache; None when there is none or it is not, to the last bit, what was
    written."""
    folder = judge_folder(cache_dir, image_set.fingerprint, recipe)
    try:
        facts = reading.read_record(folder / FACTS_FILE, JudgeFacts)
        weights = reading.read_bytes(folder / WEIGHTS_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, LabError) as error:
        log.warning("judge: %s is damaged and is trained again: %s", folder.name, error)
        return None
    digest = hashlib.sha256(weights).hexdigest()
    expected = (digest, image_set.fingerprint, recipe.architecture, recipe.written())
    if (facts.sha256, facts.fingerprint, facts.architecture_version, facts.recipe) != expected:
        log.warning("judge: %s is damaged and is trained again: its facts are not of its weights", folder.name)
        return None
    return facts, weights


def judge_in_folder(info: ModelFolderInfo) -> tuple[JudgeFacts, bytes] | None:
    """Facts and weights of the judge in `lab/judge` of a model folder made by export; None when the folder has none.

    Raises ModelRefused, in one sentence, for a judge that was altered, is of another dataset or version, or does not
    fit the model's images.
    """
    if not info.has_judge:
        return None
    data, weights = (_read(info, f"{JUDGE_FOLDER}/{name}") for name in (FACTS_FILE, WEIGHTS_FILE))
    where = f"{info.name}: {JUDGE_FOLDER}"
    try:
        facts = reading.record_from(data, JudgeFacts, FACTS_FILE)
    except LabError as error:
        raise ModelRefused(f"{where}/{quoted(error.message, 200)}") from None
    side = info.settings().data.image_size
    if facts.architecture_version != ARCHITECTURE_VERSION:
        raise ModelRefused(f"{where}/{FACTS_FILE}: is a judge of another version of this lab", "export the model again")
    if (facts.fingerprint, facts.num_classes) != (info.facts.fingerprint, len(info.class_names)):
        raise ModelRefused(f"{where}/{FACTS_FILE}: is of another dataset than the model", "export the model again")
    if hashlib.sha256(weights).hexdigest() != facts.sha256:
        raise ModelRefused(f"{where}/{WEIGHTS_FILE}: is not the judge that {FACTS_FILE} describes")
    if side % MIN_SIDE:
        raise ModelRefused(
            f"{where}/{WEIGHTS_FILE}: a judge looks at sides that are multiples of {MIN_SIDE}, not {side}"
        )
    return facts, weights


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
