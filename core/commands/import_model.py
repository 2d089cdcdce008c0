"""`import-model FOLDER|ZIP` keeps a model of somebody else; `models` lists and deletes what was kept."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core.commands.options import add_settings_options, site_of
from core.commands.ownership import add_yes_option, ask_owner
from core.commands.tables import age, plain, table
from core.model_folders.import_model import delete_model, import_model
from core.model_folders.model_facts import find_model_folder, list_model_folders


def add_parser(commands: Any) -> None:
    """Both commands."""
    parser = commands.add_parser("import-model", help="keep a model folder or a zip of one, safetensors only")
    parser.add_argument("source", metavar="FOLDER|ZIP", type=Path, help="made by export, or a plain DiTPipeline folder")
    parser.add_argument("--name", default="", help="what it is called here (default: the folder's name)")
    parser.add_argument("--data", default="", metavar="NAME", help="what a plain diffusers folder learned from")
    add_settings_options(parser)
    parser.set_defaults(handler=run)
    listing = commands.add_parser("models", help="the models that draw without a run: the demo and imported ones")
    listing.add_argument("--delete", default="", metavar="NAME", help="remove an imported model for good")
    add_yes_option(listing, "model")
    add_settings_options(listing)
    listing.set_defaults(handler=run_models)


def run(arguments: argparse.Namespace) -> int:
    """Import it and say how it is used."""
    folder = site_of(arguments).models
    found = import_model(arguments.source, models_dir=folder, name=arguments.name, data_set=arguments.data)
    print(f"{plain(found.id)}: {len(found.class_names):,} classes, kept in {plain(found.path)}")
    print(f"draw with it: python -m core sample {plain(found.id)}")
    return 0


def run_models(arguments: argparse.Namespace) -> int:
    """The list, or a deletion."""
    folder = site_of(arguments).models
    if arguments.delete:
        info = find_model_folder(folder, arguments.delete)
        ask_owner(info.id, info.owner, "delete", yes=arguments.yes)
        print(f"{plain(delete_model(folder, arguments.delete))} is gone")
        return 0
    rows = [
        [
            info.id,
            info.title,
            len(info.class_names),
            info.facts.data_set or "-",
            info.facts.licence or "-",
            info.owner or "-",
            age(info.imported_at or info.facts.created_at),
        ]
        for info in list_model_folders(folder)
    ]
    print(table(["model", "title", "classes", "data", "licence", "owner", "since"], rows))
    return 0
