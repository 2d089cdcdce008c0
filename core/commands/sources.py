"""RUN|MODEL_DIR: a run of the store, a run folder that lies anywhere, or a model folder made by export."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core import reading
from core.commands.options import chosen_settings, read_settings, site_of, store_of
from core.config.load import settings_from, with_overrides
from core.errors import CheckpointError, RunNotFound, UsageError, quoted
from core.model_folders.model_facts import (
    PREFIX,
    find_model_folder,
    is_model_folder,
    model_folder_info,
)
from core.runs.run import Run
from core.runs.store import run_info

if TYPE_CHECKING:
    from core.config.schema import Settings
    from core.sampling.load import LoadedModel

Weights = Literal["ema", "raw"]


def find_run(arguments: argparse.Namespace, text: str) -> Run:
    """The run that `text` names. Raises RunNotFound."""
    folder = Path(text)
    if (folder / "run.json").is_file():
        found = Run(folder.resolve())
        run_info(found)
        return found
    try:
        return store_of(arguments).get(text)
    except RunNotFound:
        if folder.is_dir():
            raise RunNotFound(
                f"{quoted(text)}: is a folder, but no run folder", "give a run id or a run's folder"
            ) from None
        raise


def find_source(arguments: argparse.Namespace, text: str) -> Run:
    """The U-Net run that `text` names. Raises RunNotFound, UsageError for a VAE run."""
    found = find_run(arguments, text)
    found.check_generates("pictures come from a U-Net run")
    return found


def class_names_of(run: Run) -> tuple[str, ...]:
    """The classes that the run was trained on. Raises CheckpointError before its training has begun."""
    try:
        names = reading.read_object(run.data_path)["class_names"]
        if not isinstance(names, list) or not names:
            raise ValueError("it names no classes")
        return tuple(map(str, names))
    except FileNotFoundError:
        raise CheckpointError(f"{run.id}: has no checkpoint yet", "let it train until its first save") from None
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{run.id}: data.json cannot be read: {quoted(error, 200)}", "choose another run"
        ) from None


@dataclass(frozen=True, kw_only=True)
class PictureSource:
    """What draws: a U-Net run, or a model folder (then `run` is None). folder: its own."""

    id: str
    folder: Path
    settings: Settings
    class_names: tuple[str, ...]
    run: Run | None
    data_set: str

    def load(self, *, device: str, weights: Weights = "ema", step: int | None = None) -> LoadedModel:
        """The denoiser. Raises UsageError for a checkpoint that a model folder does not have."""
        if self.run is not None:
            from core.sampling.load import load_model

            return load_model(self.run, device=device, weights=weights, step=step)
        if step is not None or weights != "ema":
            raise UsageError(f"{self.id}: holds one set of weights", "leave out --checkpoint and --weights")
        from core.model_folders.model_folder import load_model_folder

        return load_model_folder(self.folder, device=device)


def find_picture_source(arguments: argparse.Namespace, text: str) -> PictureSource:
    """The U-Net run or model folder that `text` names. Raises RunNotFound, UsageError, ModelRefused."""
    folder = Path(text)
    if text.startswith(PREFIX):
        folder = find_model_folder(site_of(arguments).models, text).path
    if is_model_folder(folder) and not (folder / "run.json").is_file():
        info = model_folder_info(folder)
        return PictureSource(
            id=info.id,
            folder=info.path,
            settings=info.settings(),
            class_names=info.class_names,
            run=None,
            data_set=info.facts.data_set,
        )
    run = find_source(arguments, text)
    return PictureSource(
        id=run.id,
        folder=run.folder,
        settings=run.settings,
        class_names=class_names_of(run),
        run=run,
        data_set=run.settings.data.name,
    )


def settings_of_run(arguments: argparse.Namespace, run: Run | PictureSource, sections: Sequence[str]) -> Settings:
    """A run's frozen settings, but for `sections`, which --config, --preset and --set may change.

    Raises UsageError for a setting that is part of what was trained.
    """
    chosen = chosen_settings(arguments)
    for name in chosen:
        if name.split(".")[0] not in sections:
            raise UsageError(
                f"--set {quoted(name)}: belongs to what run {run.id} trained and cannot be changed now",
                f"here one of {', '.join(sections)} can be set",
            )
    values = run.settings.model_dump(mode="json")
    if arguments.config or arguments.preset is not None:
        asked = read_settings(arguments).model_dump(mode="json")
        for section in sections:
            values[section] = asked[section]
    return settings_from(with_overrides(values, chosen))
