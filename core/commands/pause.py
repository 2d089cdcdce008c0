"""`pause RUN`: free its place on the machine, keep its place in the queue."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.ownership import add_yes_option, confirm_owner
from core.commands.train import end_of
from core.home import PROGRAM
from core.jobs.exit_reason import in_words
from core.jobs.service import pause_run


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "pause",
        "Save a run and free the machine; the run keeps its place in the queue.",
        ("pause RUN", "pause RUN --yes"),
    )
    parser.add_argument("run", metavar="RUN", help="the run's id, a unique beginning or end of it, or its name")
    add_yes_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Pause it and wait until its place is free."""
    store = store_of(arguments)
    found = store.get(arguments.run)
    confirm_owner(found, "pause", yes=arguments.yes)
    status = pause_run(store, found.id, wait=True)
    words = f"{found.id} is {in_words(status)}; resume it: {PROGRAM} resume {found.id}"
    answer(arguments, end_of(found, status), words)
    return 0
