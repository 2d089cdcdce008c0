"""`import-model FOLDER|ZIP` keeps a model of somebody else."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core.commands.options import site_of
from core.commands.tables import plain
from core.model_folders.import_model import import_model


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = commands.add_parser("import-model", help="keep a model folder or a zip of one, safetensors only")
    parser.add_argument("source", metavar="FOLDER|ZIP", type=Path, help="made by export, or a plain DiTPipeline folder")
    parser.add_argument("--name", default="", help="what it is called here (default: the folder's name)")
    parser.add_argument("--data", default="", metavar="NAME", help="what a plain diffusers folder learned from")


def run(arguments: argparse.Namespace) -> int:
    """Import it and say how it is used."""
    folder = site_of(arguments).models
    found = import_model(arguments.source, models_dir=folder, name=arguments.name, data_set=arguments.data)
    print(f"{plain(found.id)}: {len(found.class_names):,} classes, kept in {plain(found.path)}")
    print(f"draw with it: python -m core sample {plain(found.id)}")
    return 0
