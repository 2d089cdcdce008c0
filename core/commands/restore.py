"""`restore RUN`: bring a deleted run back from the trash."""

from __future__ import annotations

import argparse
from typing import Any

from core.commands.answer import answer
from core.commands.command_help import add_command
from core.commands.options import store_of
from core.commands.train import end_of
from core.jobs.service import restore_run


def add_parser(commands: Any) -> None:
    """Its options."""
    parser = add_command(
        commands, "restore", "Bring a deleted run back from the trash.", ("restore RUN", "restore 1b97")
    )
    parser.add_argument("run", metavar="RUN", help="id, or a unique beginning or end of it; see `trash`")


def run(arguments: argparse.Namespace) -> int:
    """Bring it back."""
    found = restore_run(store_of(arguments), arguments.run)
    answer(arguments, end_of(found, found.status()), f"{found.id} is back")
    return 0
