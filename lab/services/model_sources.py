"""What can draw: U-Net runs by id, and model folders as 'model:<folder>'. PyTorch only when one is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core import reading
from core.config.compatibility import offered_samplers, pair_warning
from core.config.schema import Settings, project_root
from core.errors import CheckpointError, LabError, UsageError
from core.model_folders.model_facts import (
    DEMO,
    LAB_FILE,
    PREFIX,
    LabFacts,
    ModelFolderInfo,
    find_model_folder,
    list_model_folders,
)
from core.runs.listing import list_checkpoints
from lab.services.runs import open_store, trained_unets
from lab.services.settings import current_settings, current_site

if TYPE_CHECKING:
    from core.sampling.load import LoadedModel

Weights = Literal["ema", "raw"]
Kind = Literal["run", "demo", "model"]


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Something that draws. steps: its checkpoints, newest first; title: as a person named it, not escaped.

    kind: a run of this lab, the demo that comes with it, or a model folder that somebody imported. created_at: ISO.
    """

    key: str
    title: str
    steps: tuple[int, ...]
    weights: tuple[Weights, ...] = ("ema", "raw")
    kind: Kind = "run"
    created_at: str = ""


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """What the controls of a screen need to know about a source. fingerprint: of the data set it learned from, '' when
    nobody knows; channels: 1 or 3.

    card: what a model folder says about itself; None for a run. judge_in: the model folder, when a judge lies in it.
    """

    settings: Settings
    class_names: tuple[str, ...]
    fingerprint: str
    channels: int
    data_dir: Path
    cache_dir: Path
    card: LabFacts | None = None
    judge_in: Path | None = None

    @property
    def image_size(self) -> int:
        """Side of the pictures, pixels."""
        return self.settings.data.image_size


def model_sources() -> list[ModelSource]:
    """Every U-Net run with a checkpoint, newest first, then the model folders, the bundled demo before the others."""
    runs = [
        ModelSource(
            key=view.id,
            title=view.title,
            steps=tuple(info.step for info in list_checkpoints(view.run))[::-1],
            created_at=view.run.info.created_at,
        )
        for view in trained_unets()
    ]
    demo = (project_root() / DEMO).resolve()
    folders = [
        ModelSource(
            key=info.id,
            title=info.title,
            steps=(info.facts.step,),
            weights=(info.facts.weights,),
            kind="demo" if info.path == demo else "model",
            created_at=info.facts.created_at,
        )
        for info in list_model_folders(current_site().models)
    ]
    return runs + sorted(folders, key=lambda source: source.kind != "demo")


def facts_of(key: str) -> SourceFacts:
    """Settings, classes and data of a source. Raises a LabError when there is none or it cannot be read."""
    if key.startswith(PREFIX):
        return _facts_of_folder(_folder(key))
    run = open_store().get(key)
    try:
        data = reading.read_object(run.data_path)
        names, fingerprint = tuple(str(name) for name in data["class_names"]), str(data["fingerprint"])
        channels = int(data["channels"])
    except (OSError, ValueError, TypeError, KeyError):
        raise CheckpointError(f"{run.id}: its data.json cannot be read", "choose another run") from None
    site = current_site()
    return SourceFacts(
        settings=run.settings,
        class_names=names,
        fingerprint=fingerprint,
        channels=channels,
        data_dir=site.data,
        cache_dir=site.cache,
    )


def _facts_of_folder(info: ModelFolderInfo) -> SourceFacts:
    site = current_site()
    return SourceFacts(
        settings=info.settings(),
        class_names=info.class_names,
        fingerprint=info.facts.fingerprint,
        channels=info.facts.channels,
        data_dir=site.data,
        cache_dir=site.cache,
        card=info.facts,
        judge_in=info.path if info.has_judge else None,
    )


def load_source(key: str, step: int, weights: Weights, device: str) -> LoadedModel:
    """The very checkpoint, on `device` ('' for what its settings say). Raises a LabError."""
    from core.device import set_threads
    from core.sampling.load import load_model

    if key.startswith(PREFIX):
        return _load_folder(_folder(key), step, weights, device)
    run = open_store().get(key)
    machine = run.settings.machine
    set_threads(machine.num_threads)
    return load_model(run, device=device or machine.device, weights=weights, step=step)


def _load_folder(info: ModelFolderInfo, step: int, weights: Weights, device: str) -> LoadedModel:
    from core.device import set_threads
    from core.model_folders.model_folder import load_model_folder

    if (step, weights) != (info.facts.step, info.facts.weights):
        raise UsageError(
            f"{info.id}: holds the {info.facts.weights} weights of step {info.facts.step:,} only, not the {weights} "
            f"weights of step {step:,}",
            "open a recipe that was made with this model",
        )
    machine = current_settings().machine
    set_threads(machine.num_threads)
    return load_model_folder(info.path, device=device or machine.device)


def stamp_of(key: str) -> tuple[int, ...]:
    """Another one when a model folder was replaced under its name; a run's checkpoint never is. () when unknown."""
    try:
        return _stamp(_folder(key)) if key.startswith(PREFIX) else ()
    except LabError:
        return ()


def _folder(key: str) -> ModelFolderInfo:
    return find_model_folder(current_site().models, key)


def _stamp(info: ModelFolderInfo) -> tuple[int, ...]:
    try:
        found = (info.path / LAB_FILE).stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def samplers_for(settings: Settings, num_inference_steps: int) -> tuple[list[str], dict[str, str]]:
    """(samplers that work with a model of these settings, the others with the reason why not)."""
    diffusion = settings.diffusion
    return offered_samplers(
        schedule=diffusion.schedule,
        prediction_type=diffusion.prediction_type,
        rescale_betas_zero_snr=diffusion.rescale_betas_zero_snr,
        num_inference_steps=num_inference_steps,
        num_train_timesteps=diffusion.num_train_timesteps,
    )


def poor_choice_for(settings: Settings, sampler: str, num_inference_steps: int) -> str | None:
    """Why a sampler that works is a poor choice at so few steps, with the number, or None."""
    return pair_warning(schedule=settings.diffusion.schedule, sampler=sampler, num_inference_steps=num_inference_steps)
