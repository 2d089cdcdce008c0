"""`remove-data NAME`: remove an imported set for good, after a question."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.ownership import ask
from core.commands.tables import plain
from core.data.imports import read_imported
from core.errors import DataUnavailable
from core.jobs.imported_sets import remove_imported, runs_on
from core.runs.provenance import current_user


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "remove-data",
        "Permanently delete an imported dataset.",
        ("remove-data flowers", "remove-data flowers --yes"),
    )
    parser.add_argument("name", metavar="NAME", help="the name in data.name")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(arguments: argparse.Namespace) -> int:
    """Ask, then remove it."""
    store, name = store_of(arguments), arguments.name
    try:
        found = read_imported(name)
        words = (
            f"{plain(found.title)}: {found.train_count + found.heldout_count:,} images, by {plain(found.imported_by)}"
        )
    except DataUnavailable:
        words = f"{plain(name)}: damaged"
    users = len(runs_on(store, name))
    words += f"; {users} run{'s' if users != 1 else ''} of it stay, but cannot be trained or measured further" * bool(
        users
    )
    if not arguments.yes:
        ask("remove-data", words, "Remove it permanently?", "add --yes to remove it permanently")
    remove_imported(store, name, by=current_user())
    answer(arguments, {"name": name, "removed": True}, f"{plain(name)} is gone")
    return 0
