"""`models` lists the models that draw without a run, and deletes imported ones."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.options import site_of
from core.commands.ownership import add_yes_option, ask_owner
from core.commands.tables import plain, table
from core.model_folders.import_model import delete_model
from core.model_folders.model_facts import find_model_folder, list_model_folders
from core.runs.provenance import current_user
from core.words import ago


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = commands.add_parser("models", help="the models that draw without a run: the demo and imported ones")
    parser.add_argument("--delete", default="", metavar="NAME", help="remove an imported model for good")
    add_yes_option(parser, "model")


def run(arguments: argparse.Namespace) -> int:
    """The list, or a deletion."""
    folder = site_of(arguments).models
    if arguments.delete:
        info = find_model_folder(folder, arguments.delete)
        ask_owner(info.id, info.owner, "delete", yes=arguments.yes)
        print(f"{plain(delete_model(folder, arguments.delete, by=current_user()))} is gone")
        return 0
    rows = [
        [
            info.id,
            info.title,
            len(info.class_names),
            info.facts.data_set or "-",
            info.facts.licence or "-",
            info.owner or "-",
            ago(info.imported_at or info.facts.created_at),
        ]
        for info in list_model_folders(folder)
    ]
    print(table(["model", "title", "classes", "data", "licence", "owner", "since"], rows))
    return 0
