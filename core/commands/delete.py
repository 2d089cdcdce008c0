"""`delete RUN`: move a run to the trash, or with --now remove it for good."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.ownership import add_yes_option, confirm_owner
from core.errors import UsageError
from core.home import PROGRAM
from core.jobs.service import delete_run
from core.jobs.sweeps import delete_sweep
from core.runs.groups import SWEEP, runs_of_sweep
from core.runs.provenance import current_user
from core.runs.trash import remove_for_good
from core.words import counted


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(commands, "delete", "Move a run to the trash.", ("delete RUN", "delete RUN --now"))
    parser.add_argument(
        "run",
        metavar="RUN",
        help="the run's id, a unique beginning or end of it, or its name; or sweep:ID",
    )
    parser.add_argument("--now", action="store_true", help="permanently remove it instead")
    add_yes_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Delete it."""
    store = store_of(arguments)
    if arguments.run.startswith(SWEEP):
        if arguments.now:
            raise UsageError("--now: is for a single run", "leave it out: the trash empties by itself")
        for each in runs_of_sweep(store, arguments.run):
            confirm_owner(each, "delete", yes=arguments.yes)
        gone = [each.id for each in delete_sweep(store, arguments.run)]
        words = f"{counted(len(gone), 'run')} in the trash; bring each back with: {PROGRAM} restore RUN"
        answer(arguments, [{"id": run_id, "in_trash": True} for run_id in gone], words)
        return 0
    found = store.get(arguments.run)
    confirm_owner(found, "delete", yes=arguments.yes)
    delete_run(store, found.id)
    words = f"{found.id} is in the trash; bring it back with: {PROGRAM} restore {found.id}"
    if arguments.now:
        remove_for_good(store, found.id, by=current_user())
        words = f"{found.id} is gone"
    answer(arguments, {"id": found.id, "in_trash": not arguments.now}, words)
    return 0
