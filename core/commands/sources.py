"""RUN|MODEL_DIR: a run of the store, or a run folder that lies anywhere."""

from __future__ import annotations

import argparse
from pathlib import Path

from core import atomic
from core.commands.options import store_of
from core.errors import CheckpointError, RunNotFound, UsageError, quoted
from core.runs.run import Run
from core.runs.store import run_info


def find_source(arguments: argparse.Namespace, text: str) -> Run:
    """The U-Net run that `text` names. Raises RunNotFound, UsageError for a VAE run."""
    folder = Path(text)
    if (folder / "run.json").is_file():
        found = Run(folder.resolve())
        run_info(found)
    else:
        try:
            found = store_of(arguments).get(text)
        except RunNotFound:
            if folder.is_dir():
                raise RunNotFound(
                    f"{quoted(text)}: is a folder, but no run folder", "give a run id or a run's folder"
                ) from None
            raise
    if found.info.kind != "unet":
        what = "VAE run" if found.info.kind == "vae" else found.info.kind
        raise UsageError(f"{found.id}: is a {what}", "pictures come from a U-Net run")
    return found


def class_names_of(run: Run) -> tuple[str, ...]:
    """The classes that the run was trained on. Raises CheckpointError before its training has begun."""
    try:
        names = atomic.read_json(run.data_path)["class_names"]
        if not isinstance(names, list) or not names:
            raise ValueError("it names no classes")
        return tuple(map(str, names))
    except FileNotFoundError:
        raise CheckpointError(f"{run.id}: has no checkpoint yet", "let it train until its first save") from None
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{run.id}: data.json cannot be read: {quoted(error, 200)}", "choose another run"
        ) from None
