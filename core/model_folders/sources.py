"""What can generate: U-Net runs, by id or by folder, and model folders, also as 'model:<folder>'.

The command line and the screens ask here. PyTorch is imported when a model is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core import reading
from core.config.schema import Settings
from core.errors import CheckpointError, RunNotFound, UsageError, quoted
from core.model_folders.model_facts import (
    LAB_FILE,
    PREFIX,
    LabFacts,
    ModelFolderInfo,
    find_model_folder,
    is_demo,
    is_model_folder,
    list_model_folders,
    model_folder_info,
)
from core.rules import Rules, rules_of
from core.runs.facts import DataFacts, data_facts
from core.runs.listing import list_checkpoints
from core.runs.run import Run
from core.runs.store import RunStore, run_info

if TYPE_CHECKING:
    from core.sampling.load import LoadedModel

Weights = Literal["ema", "raw"]
Origin = Literal["run", "demo", "model"]


@dataclass(frozen=True)
class RunSource:
    """A U-Net run. Its files are read when they are asked for, and then a LabError may be raised."""

    run: Run
    origin: Origin = "run"
    stamp: tuple[int, ...] = ()  # a checkpoint is never replaced under its name
    weights: tuple[Weights, ...] = ("ema", "raw")
    card: LabFacts | None = None  # what a model folder says about itself
    judge_in: Path | None = None  # the model folder, when a judge lies in it

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def title(self) -> str:
        """As a person named it, not escaped."""
        return self.run.title

    @property
    def folder(self) -> Path:
        """Its own."""
        return self.run.folder

    @property
    def created_at(self) -> str:
        """ISO 8601."""
        return self.run.info.created_at

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """Its checkpoints, newest first."""
        return tuple(info.step for info in list_checkpoints(self.run))[::-1]

    @property
    def settings(self) -> Settings:
        """What it was trained with."""
        return self.run.settings

    @property
    def rules(self) -> Rules:
        """What its numbers follow."""
        return self.run.rules

    @property
    def data_set(self) -> str:
        """The dataset's name."""
        return self.settings.data.name

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""
        return self.settings.data.image_size

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the K classes. Raises CheckpointError before its training has begun."""
        if not self._data.class_names:
            raise CheckpointError(f"{self.id}: data.json cannot be read: it names no classes", "choose another run")
        return self._data.class_names

    @property
    def fingerprint(self) -> str:
        """Of the dataset it learned from."""
        return self._data.fingerprint

    @property
    def channels(self) -> int:
        """1 or 3."""
        channels = self._data.channels
        if channels not in (1, 3):
            raise CheckpointError(
                f"{self.id}: data.json cannot be read: channels is {quoted(channels)}", "choose another run"
            )
        return channels

    @cached_property
    def _data(self) -> DataFacts:
        try:
            return data_facts(self.run)
        except FileNotFoundError:
            raise CheckpointError(f"{self.id}: has no checkpoint yet", "let it train until its first save") from None
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{self.id}: data.json cannot be read: {quoted(error, 200)}", "choose another run"
            ) from None

    def load(self, *, device: str, weights: Weights = "ema", step: int | None = None) -> LoadedModel:
        """The denoiser of a checkpoint (default: the newest). Raises UsageError, CheckpointError."""
        from core.sampling.load import load_model

        return load_model(self.run, device=device, weights=weights, step=step)


@dataclass(frozen=True)
class FolderSource:
    """A model folder, which holds one set of weights."""

    info: ModelFolderInfo
    run: None = None

    @property
    def rules(self) -> Rules:
        """What its numbers follow."""
        return rules_of(self.info.facts.versions)

    @property
    def id(self) -> str:
        """'model:' and the folder's name."""
        return self.info.id

    @property
    def title(self) -> str:
        """As a person named it, not escaped."""
        return self.info.title

    @property
    def folder(self) -> Path:
        """Its own."""
        return self.info.path

    @property
    def origin(self) -> Origin:
        """The demo that comes with the lab, or a model that somebody imported."""
        return "demo" if is_demo(self.info) else "model"

    @property
    def created_at(self) -> str:
        """ISO 8601, or ''."""
        return self.info.facts.created_at

    @property
    def steps(self) -> tuple[int, ...]:
        """The step of its weights; 0 when nobody knows."""
        return (self.info.facts.step,)

    @property
    def weights(self) -> tuple[Weights, ...]:
        """The one kind that it holds."""
        return (self.info.facts.weights,)

    @cached_property
    def settings(self) -> Settings:
        """What it was trained with. Raises ModelRefused when they cannot be read."""
        return self.info.settings()

    @property
    def data_set(self) -> str:
        """The dataset's name, '' when nobody knows."""
        return self.info.facts.data_set

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""
        return self.settings.data.image_size

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the K classes."""
        return self.info.class_names

    @property
    def fingerprint(self) -> str:
        """Of the dataset it learned from, '' when nobody knows."""
        return self.info.facts.fingerprint

    @property
    def channels(self) -> int:
        """1 or 3."""
        return self.info.facts.channels

    @property
    def card(self) -> LabFacts:
        """What it says about itself."""
        return self.info.facts

    @property
    def judge_in(self) -> Path | None:
        """Its folder, when a judge lies in it."""
        return self.folder if self.info.has_judge else None

    def load(self, *, device: str, weights: Weights = "ema", step: int | None = None) -> LoadedModel:
        """The denoiser. Raises UsageError for weights that it does not hold; without a step, 'ema' is what it holds."""
        from core.model_folders.model_folder import load_model_folder

        facts = self.info.facts
        if step is None and weights != "ema":
            raise UsageError(f"{self.id}: holds one set of weights", "leave out --checkpoint and --weights")
        if step is not None and (step, weights) != (facts.step, facts.weights):
            raise UsageError(
                f"{self.id}: holds the {facts.weights} weights of step {facts.step:,} only, not the {weights} weights "
                f"of step {step:,}",
                "leave out --checkpoint and --weights, or open a recipe that was made with this model",
            )
        return load_model_folder(self.folder, device=device)

    @property
    def stamp(self) -> tuple[int, ...]:
        """Another one when the folder was replaced under its name."""
        return reading.stamp_of(self.folder / LAB_FILE)


ModelSource = RunSource | FolderSource


def list_sources(runs: Iterable[Run], models_dir: Path) -> list[ModelSource]:
    """The runs that can generate, in their order, then the model folders, the bundled demo before the others."""
    folders = [FolderSource(info) for info in list_model_folders(models_dir)]
    able = [RunSource(run) for run in runs if run.kind.generates]
    return [source for source in able if source.steps] + sorted(folders, key=lambda source: source.origin != "demo")


def source_named(name: str, store: RunStore, models_dir: Path) -> ModelSource:
    """The run of an id, or the folder that 'model:NAME' stands for: nothing that a link says leads anywhere else.

    Raises RunNotFound, UsageError.
    """
    if name.startswith(PREFIX):
        return FolderSource(find_model_folder(models_dir, name))
    return RunSource(store.get(name))


def find_source(text: str, store: Callable[[], RunStore], models_dir: Path) -> ModelSource:
    """As `source_named`, or the run folder or model folder of that path, wherever it lies.

    Raises RunNotFound, ModelRefused, UsageError for a run that makes no images.
    """
    folder = Path(text)
    if text.startswith(PREFIX):
        return FolderSource(find_model_folder(models_dir, text))
    if is_model_folder(folder) and not (folder / "run.json").is_file():
        return FolderSource(model_folder_info(folder))
    found = find_run(text, store)
    found.check_generates("images come from a U-Net run")
    return RunSource(found)


def find_run(text: str, store: Callable[[], RunStore]) -> Run:
    """The run of any kind that `text` names: by id, name or the path of its folder. Raises RunNotFound."""
    folder = Path(text)
    if (folder / "run.json").is_file():
        found = Run(folder.resolve())
        run_info(found)
        return found
    try:
        return store().get(text)
    except RunNotFound:
        if folder.is_dir():
            raise RunNotFound(
                f"{quoted(text)}: is a folder, but no run folder", "give a run id or a run's folder"
            ) from None
        raise
