"""`models` lists the models that draw without a run, and deletes imported ones."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import site_of
from core.commands.ownership import add_yes_option, ask_owner
from core.commands.tables import plain, table
from core.model_folders.import_model import delete_model
from core.model_folders.model_facts import ModelFolderInfo, find_model_folder, list_model_folders
from core.runs.provenance import current_user
from core.words import ago


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "models",
        "List the models that generate without a run, or delete an imported one.",
        ("models", "models --delete digits"),
    )
    parser.add_argument(
        "--delete", default="", metavar="NAME", help="permanently delete an imported model (default: none)"
    )
    add_yes_option(parser, "model")


def run(arguments: argparse.Namespace) -> int:
    """The list, or a deletion."""
    folder = site_of(arguments).models
    if arguments.delete:
        info = find_model_folder(folder, arguments.delete)
        ask_owner(info.id, info.owner, "delete", yes=arguments.yes)
        gone = delete_model(folder, arguments.delete, by=current_user())
        answer(arguments, {"id": gone, "removed": True}, f"{plain(gone)} is gone")
        return 0
    found = list_model_folders(folder)
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
        for info in found
    ]
    heads = ["model", "title", "classes", "data", "license", "owner", "since"]
    answer(arguments, [as_json(info) for info in found], lambda: table(heads, rows))
    return 0


def as_json(info: ModelFolderInfo) -> dict[str, Any]:
    """One element of `models --json`."""
    return {
        "id": info.id,
        "title": info.title,
        "class_names": list(info.class_names),
        "data_set": info.facts.data_set,
        "license": info.facts.licence,
        "owner": info.owner,
        "created_at": info.facts.created_at,
        "imported_at": info.imported_at,
        "path": str(info.path),
    }
