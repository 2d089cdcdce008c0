"""`hand-over RUN PERSON`: a run gets another owner."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.tables import plain
from core.jobs.service import hand_over


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands,
        "hand-over",
        "Give a run to another owner, who may then change it.",
        ("hand-over RUN ben", "hand-over RUN ben --json"),
    )
    parser.add_argument("run", metavar="RUN", help="the run's id, a unique beginning or end of it, or its name")
    parser.add_argument("person", metavar="PERSON", help="the new owner, as they sign in or are named on their runs")


def run(arguments: argparse.Namespace) -> int:
    """Do it and say whose it is now."""
    found = hand_over(store_of(arguments), arguments.run, arguments.person)
    owner = found.info.owner
    answer(arguments, {"id": found.id, "owner": owner}, f"{found.id} belongs to {plain(owner)} now")
    return 0
