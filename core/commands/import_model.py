"""`import-model FOLDER|ZIP` keeps a model of somebody else."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.models import as_json
from core.commands.options import site_of
from core.commands.progress import progress_bar
from core.commands.tables import plain
from core.home import PROGRAM
from core.model_folders.import_model import import_model


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "import-model",
        "Import a model from a folder or a zip, safetensors only.",
        ("import-model digits-model --name digits", "import-model digits-model.zip --data mnist"),
    )
    parser.add_argument("source", metavar="FOLDER|ZIP", type=Path, help="made by export, or a plain DiTPipeline folder")
    parser.add_argument("--name", default="", help="its name in this lab (default: the folder's name)")
    parser.add_argument(
        "--data",
        default="",
        metavar="NAME",
        help="the dataset a plain diffusers folder was trained on (default: not stated)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Import it and say how it is used."""
    folder = site_of(arguments).models
    with progress_bar("reading the model"):
        found = import_model(arguments.source, models_dir=folder, name=arguments.name, data_set=arguments.data)
    words = f"{plain(found.id)}: {len(found.class_names):,} classes, stored in {plain(found.path)}"
    answer(arguments, as_json(found), f"{words}\ngenerate with it: {PROGRAM} sample {plain(found.id)}")
    return 0
